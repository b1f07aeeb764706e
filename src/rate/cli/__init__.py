"""The command `rate`: a verb calls one public function, whose signature and docstring are its
options and help (`rate.cli.parse`), and prints what comes back."""

import errno
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from rich.text import Text

from rate.cli.console import err, out, refuse
from rate.system.interruption import Interrupted, Request, end_at_once, stoppable

USAGE = """rate: agents that must remember.

  rate list        models, tasks and experiments
  rate collect     record an expert's episodes into a dataset
  rate data        import, export, describe and check recorded data
  rate train       train a policy; rate train MODEL --help explains every field
  rate evaluate    score a trained policy by acting step by step
  rate record      a video of a policy, or of a task's expert, at play
  rate inspect     look into a trained policy: its attention, its memory, and noise in its place
  rate export      write a policy as a folder that acts without this library
  rate convert     make a run of a checkpoint of the paper's authors' released code
  rate push        share a run, a dataset or an exported policy
  rate pull        fetch what somebody has shared
  rate reproduce   run an experiment of the paper, or of a file of yours, from data to report
  rate work        do the jobs of a plan, beside any number of other processes and machines
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
    "record": "rate.cli.verbs:record",
    "export": "rate.cli.verbs:export",
    "convert": "rate.cli.verbs:convert",
    "push": "rate.cli.verbs:push",
    "pull": "rate.cli.verbs:pull",
    "reproduce": "rate.cli.launching:reproduce",
    "work": "rate.cli.launching:work",
    "report": "rate.cli.verbs:report",
}
"""What runs each verb. It takes the words behind the verb and returns the exit status."""

AGAIN = {
    "evaluate": "keeps the rows of tasks that are done, and plays all of them again",
    "reproduce": "goes on where it stopped",
    "train": "begins anew, or says how to continue",
    "work": "goes on where it stopped",
}
"""What an interrupted command does when it is run again."""

FORESEEN = (ValueError, OSError, ImportError, FloatingPointError)
"""Errors whose text says what is wrong and what to do."""

_MEMORY = re.compile("(out of|not enough|cannot allocate) memory", re.IGNORECASE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 1 a fault of the library or an error
    in the data, 2 bad input, 130 interrupted (Ctrl-C), 143 ended (SIGTERM)."""
    whole_process = arguments is None
    if whole_process:
        # Workers import nothing from the current folder, which may be a stranger's.
        os.environ.setdefault("PYTHONSAFEPATH", "1")
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
    interrupted = f"interrupted; the same command again {AGAIN.get(verb, 'starts anew')}"
    request = Request(f"rate {verb}: {interrupted}")
    try:
        with stoppable(request), warnings.catch_warnings():
            warnings.showwarning = _warn
            status = _run(verb, rest)
            sys.stdout.flush()
    except BaseException as error:
        status = _failed(verb, error, request, interrupted)
    if whole_process and request.number:
        # To take all modules down takes seconds on a busy machine.
        end_at_once(_silence(status))
    return status


def _run(verb: str, rest: list[str]) -> int:
    module, name = VERBS[verb].split(":")
    run: Callable[[list[str]], int | None] = getattr(import_module(module), name)
    return run(rest) or 0


def _failed(verb: str, error: BaseException, request: Request, interrupted: str) -> int:
    """Say what went wrong; returns the exit status."""
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, BrokenPipeError):  # who reads what is printed has ended
        return _silence(128 + 13)
    if isinstance(error, Interrupted):
        how = error.how_to_continue if verb == "train" else interrupted
        what = f"{error}; {how}"
    else:
        what = describe(error)
    if request.number or isinstance(error, KeyboardInterrupt):
        # Other errors are what an end that was asked for has led to.
        err.print(f"rate {verb}: {what or interrupted}")
        return request.status
    if not what:
        traceback.print_exception(error)
        err.print(
            f"rate {verb}: this was not foreseen. It is a fault of rate, or of code of yours that "
            "it runs: please report it with the lines above"
        )
        return 1
    err.print(f"rate {verb}: {what}")
    return _silence(2)


def describe(error: BaseException) -> str:
    """What is wrong and what to do, for an error that was foreseen; else empty."""
    text = str(error) or type(error).__name__
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError | RuntimeError | OSError) and (
        isinstance(error, MemoryError) or number == errno.ENOMEM or _MEMORY.search(text)
    ):
        return (
            f"memory ran out ({text.splitlines()[0][:200]}): use a smaller --micro-batch or "
            "--batch-size, fewer environments (--num-envs), workers or jobs, or another machine"
        )
    if isinstance(error, OSError) and error.strerror:
        place = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        return f"{place}{error.strerror}"
    return text if isinstance(error, FORESEEN) else ""


def _silence(status: int) -> int:
    """Drop what cannot be printed, so that Python does not complain at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """Show a warning as what it says, without the line of code that it comes from."""
    err.print(f"rate: warning: {Text.from_ansi(str(message)).plain.removeprefix('WARN: ')}")


if __name__ == "__main__":
    sys.exit(main())
