"""`python -m rate` is the command `rate`."""

import sys

from rate.cli import main

if __name__ == "__main__":
    sys.exit(main())
