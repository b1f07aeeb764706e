"""`python -m benchmarks [SUITE] [--quick]`: measure all suites or one, and render README.md.

`python -m benchmarks popgym-experts` scores the experts of POPGym instead and appends to
results/popgym-experts.jsonl.
"""

import argparse

from benchmarks import (
    acting,
    collection,
    encoders,
    frames,
    gpu,
    large_dataset,
    loader,
    models,
    popgym_experts,
    simulators,
    training,
)
from benchmarks.rows import record, render

SUITES = {
    "acting": acting.measure,
    "encoders": encoders.measure,
    "models": models.measure,
    "training": training.measure,
    "frames": frames.measure,
    "collection": collection.measure,
    "large": large_dataset.measure,
    "loader": loader.measure,
    "gpu": gpu.measure,
    "simulators": simulators.measure,
}


def main() -> None:
    """Run the chosen suites, or all."""
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
    arguments = parser.parse_args()
    if arguments.suite == popgym_experts.NAME:
        for row in popgym_experts.measure(arguments.quick):
            print(
                f"{row['task']:40} {row['variant']:8} {row['value']:7.3f} ± "
                f"{row['standard_error']:.3f}"
            )
        return
    for name in [arguments.suite] if arguments.suite else SUITES:
        for measurement in SUITES[name](arguments.quick):
            row = record(measurement)
            ratio = "" if row["ratio"] is None else f"  ratio {row['ratio']:.2f}"
            print(
                f"{row['benchmark']:9} {row['configuration']:26} {row['variant']:26} "
                f"{row['value']:10.4g} {row['unit']}{ratio}"
            )
            render()


if __name__ == "__main__":
    main()
