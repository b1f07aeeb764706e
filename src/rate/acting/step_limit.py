"""A time limit for what code outside this library does, such as one step of an environment."""

import contextlib
import faulthandler
import os
import signal
import threading
import time
from typing import Any, Self


class Overdue(BaseException):
    """Raised inside code that takes too long; no `except Exception` there can hide it."""


class StepTimeoutError(ValueError):
    """Code of others has taken too long; the message says which."""


class StepLimit:
    """Interrupts code that runs for longer than a number of seconds.

        limit = StepLimit(600)
        with limit:
            for environment in environments:
                limit.begin()
                environment.step(action)  # after 600 seconds, Overdue is raised in here

    It works by SIGALRM: on systems that have it, in the main thread of a process (a worker's, too),
    if nobody else uses it. Code that never returns to Python cannot be interrupted; it is ended
    by SIGVTALRM, together with the process, when it has used every processor for four times as
    long, and the place is printed.

    Args:
        seconds: The limit.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = 0.0
        self._depth = 0
        self._armed = False

    def begin(self) -> None:
        """Count from now."""
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self.begin()
        self._depth += 1
        if self._depth == 1 and (armed := _alarm_is_free()):
            signal.signal(signal.SIGALRM, self._ring)
            self._armed = armed
            self._set(self.seconds)
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._armed:
            self._armed = False
            self._set(0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _ring(self, *_: Any) -> None:
        """Raise `Overdue`, unless what runs now has begun after the alarm was set."""
        left = self._began + self.seconds - time.monotonic()
        if left <= 0:
            raise Overdue
        self._set(left)

    def _set(self, seconds: float) -> None:
        """Set the alarm, which rings again every second for code that goes on in spite of it."""
        signal.setitimer(signal.ITIMER_REAL, seconds, 1.0 if seconds else 0.0)
        last = 4 * (os.cpu_count() or 1) * self.seconds if seconds else 0.0
        signal.setitimer(signal.ITIMER_VIRTUAL, last)


def _alarm_is_free() -> bool:
    """Whether nobody uses SIGALRM, which only the main thread may."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        return False
    used = signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
    if used or signal.getitimer(signal.ITIMER_REAL)[0]:
        return False
    with contextlib.suppress(ValueError, OSError, AttributeError):  # no file behind sys.stderr
        faulthandler.register(signal.SIGVTALRM, chain=True)
    return True
