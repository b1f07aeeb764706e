"""What a run does when it is asked to stop."""

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupted(Exception):  # noqa: N818 (it is not an error)
    """The run was asked to stop, has saved, and can be resumed.

    Args:
        what: Who stopped it, and when.
        how_to_continue: How to resume.
    """

    def __init__(self, what: str, how_to_continue: str = "") -> None:
        super().__init__(what, how_to_continue)  # both, so that another process can be sent it
        self.how_to_continue = how_to_continue

    def __str__(self) -> str:
        return str(self.args[0])


class Interruption:
    """Whether Ctrl-C or SIGTERM has asked for an end; a second Ctrl-C ends at once."""

    def __init__(self, forward: bool) -> None:
        self.requested = ""
        self.forward = forward

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number).name
        if self.forward and number == signal.SIGTERM:
            # A terminal sends Ctrl-C to every process, but SIGTERM often comes to the first one
            # alone.
            for child in multiprocessing.active_children():
                child.terminate()


@contextlib.contextmanager
def interruption(forward: bool = False) -> Iterator[Interruption]:
    """Within this context Ctrl-C and SIGTERM set a flag for the loop to end cleanly.

    Args:
        forward: Pass SIGTERM on to the processes started by this one.
    """
    flag = Interruption(forward)
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    old = {number: signal.signal(number, flag._ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
