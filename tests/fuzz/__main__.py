"""`python -m tests.fuzz --count 4000`: damage of every format, and a table of what became of it."""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz.running import fuzz, table


def main() -> int:
    """Run the fuzzer; the exit status says whether an input failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4000, help="number of inputs")
    parser.add_argument("--seed", type=int, default=0, help="seed of the damage")
    parser.add_argument("--formats", nargs="*", help="by default all")
    parser.add_argument("--work", type=Path, help="folder; inputs that failed are left in it")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="fuzz-"))
    from tests.fuzz.formats import ROUND

    outcomes, formats = [], arguments.formats or ROUND
    for outcome in fuzz(work, formats, arguments.count, seed=arguments.seed):
        outcomes.append(outcome)
        if outcome.failed:
            lines = outcome.detail.strip().splitlines()
            print(f"{outcome.name}: {outcome.kind}: {lines[-1][:200]!a}", flush=True)
    print(table(outcomes))
    failed = Counter(outcome.failed for outcome in outcomes)[True]
    if failed:
        print(f"{failed} inputs failed; they are in {work / 'failed'}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
