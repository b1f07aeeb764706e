"""Measurements as rows of JSON, and the tables that the latest of them fill."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from rate.storage.files import append_jsonl, atomic_write, read_jsonl
from rate.system.provenance import commit

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results.jsonl", HERE / "README.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"

TITLES = {
    "models": "All models",
    "acting": "Acting far into an episode",
    "stepping": "Acting from cached keys and values, or by recomputing the segment",
    "exported": "Acting without PyTorch",
    "training": "Training throughput",
    "memory": "Peak memory of training",
    "encoders": "Encoders of images, forward and backward",
    "frames": "Images that repeat",
    "collection": "Recording episodes of images",
    "large": "A dataset larger than memory",
    "loader": "Waiting for data",
    "gpu": "Training on an accelerator",
    "gpu-memory": "Peak memory of training on an accelerator",
    "gpu-acting": "Acting on an accelerator",
    "gpu-sharing": "Several runs that share an accelerator",
    "gpu-drift": "Memory in bfloat16 beside float32",
    "simulators": "Environments that render pictures",
    "pixels": "Where the time of training on pixels goes",
    "atari": "Atari beside other ways to step it",
}
RATIOS = {
    "acting": "cost against first segments",
    "stepping": "times as fast as recomputing",
    "exported": "share of PyTorch",
    "training": "times as fast as naive",
    "memory": "share of naive",
    "encoders": "times the cost of nature",
    "frames": "times as good",
    "collection": "share of the dataset",
    "large": "share of the dataset",
    "loader": "share of the time",
    "gpu": "times as fast as eager",
    "gpu-memory": "share of eager",
    "gpu-acting": "times as fast as eager",
    "atari": "times as fast as Gymnasium's",
    "gpu-sharing": "times as fast as one process",
}
LESS_IS_BETTER = {
    *("acting", "exported", "memory", "encoders", "collection", "large", "loader", "gpu-memory")
}
"""Benchmarks whose ratio is a cost or a share."""


@dataclass(frozen=True)
class Measurement:
    """One measured value; the ratio is that of the benchmark's table, where there is one."""

    benchmark: str
    variant: str
    configuration: str
    value: float
    unit: str
    ratio: float | None = None
    threads: int = 1


def cpu_model() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), ""
    )


def record(measurement: Measurement, path: Path = RESULTS) -> dict[str, Any]:
    """Append a measurement with its provenance and return the row."""
    row = {
        **asdict(measurement),
        "torch": torch.__version__,
        "cpu": cpu_model(),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    append_jsonl(path, row)
    return row


Key = tuple[str, str, str, str]


def latest(path: Path = RESULTS) -> dict[Key, dict[str, Any]]:
    """The newest row of each measurement: benchmark, configuration, variant and unit."""
    return {
        (row["benchmark"], row["configuration"], row["variant"], row["unit"]): row
        for row in read_jsonl(path)
    }


def regression(
    measurement: Measurement, stored: dict[Key, dict[str, Any]], allowed: float
) -> str | None:
    """What became worse, or nothing.

    Ratios are compared, since both sides of a ratio ran on the same machine; values without a ratio
    depend on the machine.

    Args:
        measurement: What was measured now.
        stored: Rows as from `latest`.
        allowed: Largest factor by which a ratio may be worse than the stored one.
    """
    key = measurement.benchmark, measurement.configuration, measurement.variant, measurement.unit
    before, now = stored.get(key, {}).get("ratio"), measurement.ratio
    if before is None or now is None:
        return None
    if measurement.benchmark in LESS_IS_BETTER:
        worse = now / before
    else:
        worse = before / now
    if worse <= allowed:
        return None
    return (
        f"{' / '.join(key)}: {RATIOS[measurement.benchmark]} was {before:.2f} and is {now:.2f}, "
        f"{worse:.2f} times worse; {allowed:g} is allowed"
    )


def render(path: Path = RESULTS, page: Path = PAGE) -> None:
    """Write the latest row of every measurement into the page, between its markers."""
    newest = latest(path).values()
    tables = [
        _table(benchmark, [row for row in newest if row["benchmark"] == benchmark])
        for benchmark in TITLES
    ]
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(
            f"{page} has lost its markers: put the lines {BEGIN!r} and {END!r} where the "
            "tables belong"
        )
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    atomic_write(page, f"{head}{BEGIN}\n\n{''.join(tables)}{END}{tail}")


def _table(benchmark: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    if benchmark not in RATIOS:
        return _side_by_side(benchmark, rows)
    lines = [
        f"### {TITLES[benchmark]}\n",
        f"| configuration | variant | value | unit | {RATIOS[benchmark]} | threads |",
        "|---|---|---:|---|---:|---:|",
    ]
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        lines.append(
            f"| {row['configuration']} | {row['variant']} | {_number(row['value'])} | "
            f"{row['unit']} | {ratio} "
            f"| {row['threads']} |"
        )
    return "\n".join([*lines, _origin(rows)]) + "\n"


def _side_by_side(benchmark: str, rows: list[dict[str, Any]]) -> str:
    """A row per variant and a column per unit, of the newest run alone, so that all values come
    from one run."""
    rows = [row for row in rows if row["commit"] == rows[-1]["commit"]]
    units = list(dict.fromkeys(row["unit"] for row in rows))
    values = {(row["variant"], row["unit"]): _number(row["value"]) for row in rows}
    lines = [
        f"### {TITLES[benchmark]}\n",
        f"| model | {' | '.join(units)} |",
        f"|---|{'---:|' * len(units)}",
    ]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        lines.append(
            f"| {variant} | {' | '.join(values.get((variant, unit), '—') for unit in units)} |"
        )
    return "\n".join([*lines, _origin(rows)]) + "\n"


def _origin(rows: list[dict[str, Any]]) -> str:
    last = rows[-1]
    return (
        f"\nLast row: {last['configuration']}; {last['cpu']}, torch {last['torch']}, commit "
        f"{last['commit'] or 'none'}, "
        f"{last['date']}.\n"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
