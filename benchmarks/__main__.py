"""`python -m benchmarks [SUITE] [--quick]`: measure all suites or one, and render README.md.

`python -m benchmarks popgym-experts` scores the experts of POPGym instead and appends to
results/popgym-experts.jsonl. `--check` compares with the stored rows instead of adding to them.
"""

import argparse
import sys

from benchmarks import (
    acting,
    collection,
    encoders,
    exported,
    frames,
    gpu,
    large_dataset,
    loader,
    models,
    popgym_experts,
    simulators,
    throughput,
    training,
)
from benchmarks.rows import Measurement, latest, record, regression, render

SUITES = {
    "acting": acting.measure,
    "exported": exported.measure,
    "encoders": encoders.measure,
    "models": models.measure,
    "training": training.measure,
    "frames": frames.measure,
    "collection": collection.measure,
    "large": large_dataset.measure,
    "loader": loader.measure,
    "gpu": gpu.measure,
    "simulators": simulators.measure,
    "pixels": throughput.measure,
}


def main() -> int:
    """Run the chosen suites, or all; the exit status says whether a ratio became worse."""
    arguments = _arguments()
    if arguments.suite == popgym_experts.NAME:
        for row in popgym_experts.measure(arguments.quick):
            print(
                f"{row['task']:40} {row['variant']:8} {row['value']:7.3f} ± "
                f"{row['standard_error']:.3f}"
            )
        return 0
    stored, worse = latest(), []
    for name in [arguments.suite] if arguments.suite else SUITES:
        for measurement in SUITES[name](arguments.quick):
            _show(measurement)
            if arguments.check is None:
                record(measurement)
                render()
            elif found := regression(measurement, stored, arguments.check):
                worse.append(found)
    for line in worse:
        print(f"worse: {line}", file=sys.stderr)
    return int(bool(worse))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Speed and memory beside a textbook baseline."
    )
    parser.add_argument(
        "suite",
        nargs="?",
        choices=[*SUITES, popgym_experts.NAME],
        help="one suite; all of speed if left out",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes only, about a minute in all"
    )
    parser.add_argument(
        "--check",
        nargs="?",
        type=float,
        const=1.5,
        metavar="TIMES",
        help="store nothing; fail if a ratio is more than so many times worse than the stored one "
        "(default 1.5)",
    )
    return parser.parse_args()


def _show(measurement: Measurement) -> None:
    ratio = "" if measurement.ratio is None else f"  ratio {measurement.ratio:.2f}"
    print(
        f"{measurement.benchmark:9} {measurement.configuration:26} {measurement.variant:26} "
        f"{measurement.value:10.4g} {measurement.unit}{ratio}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
