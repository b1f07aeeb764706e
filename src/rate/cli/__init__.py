"""The command `rate`: a verb calls one public function, whose signature and docstring are its
options and help (`rate.cli.parse`), and prints what comes back."""

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from rich.text import Text

from rate.cli.console import err, out, refuse

USAGE = """rate: agents that must remember.

  rate list        models, tasks and experiments
  rate collect     record an expert's episodes into a dataset
  rate data        import, export, describe and check recorded data
  rate train       train a policy; rate train MODEL --help explains every field
  rate evaluate    score a trained policy by acting step by step
  rate inspect     look into a trained policy: its attention, its memory, and noise in its place
  rate reproduce   run an experiment of the paper, or of a file of yours, from data to report
  rate report      tables and figures of a run or experiment

rate VERB --help explains a verb, rate --version prints the version. A first look:

  rate collect tmaze-uniform/90 --output data/tmaze
  rate train rate --dataset data/tmaze --run runs/first
  rate evaluate runs/first --tasks tmaze/90 tmaze/900 tmaze/9600
  rate report runs/first
"""

VERBS = {
    "list": "rate.cli.verbs:list_",
    "collect": "rate.cli.verbs:collect",
    "data": "rate.cli.data:data",
    "train": "rate.cli.train:train",
    "evaluate": "rate.cli.verbs:evaluate",
    "inspect": "rate.cli.verbs:inspect",
    "reproduce": "rate.cli.verbs:reproduce",
    "report": "rate.cli.verbs:report",
}
"""What runs each verb. It takes the words behind the verb and returns the exit status."""

AGAIN = {"reproduce": "goes on where it stopped"}
"""What an interrupted command does when it is run again; training itself says how to continue."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status (0 done, 2 bad input, 130 interrupted)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        out.print(USAGE)
        return 0
    verb, *rest = arguments
    if verb == "--version":
        out.print(f"rate {import_module('rate').__version__}")
        return 0
    if verb not in VERBS:
        return refuse("rate", verb, VERBS)
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        return _run(verb, rest)


def _run(verb: str, rest: list[str]) -> int:
    """Run a verb and turn what goes wrong into an exit status."""
    module, name = VERBS[verb].split(":")
    run: Callable[[list[str]], int | None] = getattr(import_module(module), name)
    try:
        return run(rest) or 0
    except KeyboardInterrupt:
        err.print(
            f"rate {verb}: interrupted; the same command again {AGAIN.get(verb, 'starts anew')}"
        )
        return 130
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        err.print(f"rate {verb}: {error}")
        return 2
    except Exception as error:
        from rate.training.interruption import Interrupted

        if isinstance(error, Interrupted):
            again = f"the same command again {AGAIN.get(verb)}"
            err.print(f"rate {verb}: {error}; {again if verb in AGAIN else error.how_to_continue}")
            return 130
        raise


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """Show a warning as what it says, without the line of code that it comes from."""
    err.print(f"rate: warning: {Text.from_ansi(str(message)).plain.removeprefix('WARN: ')}")


if __name__ == "__main__":
    sys.exit(main())
