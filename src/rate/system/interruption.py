"""What ends a process before its work is done: Ctrl-C, SIGTERM, or a terminal that was closed.

A command ends where it is, by a `Stopped`. Training ends where it can save, after an update. Either
way the process has gone soon after, even if what it calls does not return.
"""

import contextlib
import multiprocessing
import os
import selectors
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

GRACE = 1.5
"""Seconds after which a process ends at once that does not end by itself, unless it is saving."""
_AGAIN = 0.3
"""Seconds after which another Ctrl-C counts as a second one; a launcher may pass the first on."""
_HANG_UP = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none
_SIGNALS = {signal.SIGINT, signal.SIGTERM, _HANG_UP}
_saving = 0
"""How many contexts of this process may take longer than `GRACE`."""
_saved = 0.0
"""When the last of them ended."""
_deferring = False
_deferred = False
"""Whether `Stopped` waits for the end of a context, and whether there is one."""
_handling: set[int] = set()
"""Signals that this process handles itself."""


class Stopped(KeyboardInterrupt):
    """This process was asked to end."""


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
    """Whether an end was asked for; a second Ctrl-C ends at once."""

    def __init__(self, forward: bool) -> None:
        self.requested = ""
        self._forward, self._at_once, self._since = forward, False, 0.0

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if not self.requested:
            self.requested, self._since = signal.Signals(number).name, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._since > _AGAIN:
            _stop()
        if self._forward:
            # The signal often comes to the first process alone; the others ignore Ctrl-C.
            for child in multiprocessing.active_children():
                child.terminate()
        if self._at_once:
            _stop()

    def raise_if_requested(self) -> None:
        """Raise `Stopped` if an end was asked for."""
        if self.requested:
            _stop()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within this context a request raises `Stopped`; what is done there can be repeated."""
        self._at_once = True
        try:
            self.raise_if_requested()
            yield
        finally:
            self._at_once = False


@contextlib.contextmanager
def interruption(forward: bool = False) -> Iterator[Interruption]:
    """Within this context Ctrl-C and SIGTERM set a flag for the loop to end cleanly.

    Args:
        forward: Send SIGTERM to the processes started by this one.
    """
    flag = Interruption(forward)
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    # Ctrl-C is the business of the process that started this one.
    worker = multiprocessing.parent_process() is not None
    numbers = {signal.SIGTERM} if worker else _SIGNALS
    with saving(), _handled(numbers, flag.ask):
        yield flag


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Raise `Stopped` at the end of this context, not within: a half started process complains."""
    global _deferring, _deferred
    _deferring = True
    try:
        yield
    finally:
        _deferring = False
    if _deferred:
        _deferred = False
        raise Stopped


def _stop() -> None:
    global _deferred
    if not _deferring:
        raise Stopped
    _deferred = True


@contextlib.contextmanager
def saving() -> Iterator[None]:
    """Let this process take the time it needs after it was asked to end."""
    global _saving, _saved
    _saving += 1
    try:
        yield
    finally:
        _saving, _saved = _saving - 1, time.monotonic()


@contextlib.contextmanager
def stoppable(request: "Request") -> Iterator[None]:
    """Within this context of the main thread, signals raise `Stopped`; a process that has not ended
    a moment later, or is sent a second Ctrl-C, is ended from outside the main thread.

    Args:
        request: Learns of the signals.
    """
    if threading.current_thread() is not threading.main_thread() or sys.platform == "win32":
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    thread = threading.Thread(target=request.watch, args=(reader,), daemon=True)
    thread.start()
    before = -1
    try:
        with _handled(_SIGNALS, request.stop):
            before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
            yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writer, bytes(1))
        thread.join()
        os.close(writer)
        os.close(reader)


class Request:
    """The signal that asked a command to end, and the thread that waits for it."""

    def __init__(self, message: str) -> None:
        """Wait for a signal.

        Args:
            message: What is said when the process has to be ended from outside the main thread.
        """
        self.number, self._message = 0, message

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        self.number = self.number or number
        _stop()

    @property
    def status(self) -> int:
        """The exit status of a process that was asked to end: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.number or signal.SIGINT)

    def watch(self, reader: int) -> None:
        """Wait for signals, whose numbers come through a pipe, until a zero comes."""
        selector = selectors.DefaultSelector()
        selector.register(reader, selectors.EVENT_READ)
        first = 0.0
        while True:
            arrived = os.read(reader, 100) if selector.select(0.05 if first else None) else b""
            now = time.monotonic()
            for number in arrived:
                if number == 0:
                    return
                if number in _SIGNALS and not first:
                    self.number, first = number, now
                elif number == signal.SIGINT and now - first > _AGAIN:
                    self._end()
            if first and not _saving and now - max(first, _saved) > GRACE:
                self._end()

    def _end(self) -> None:
        """End this process and those it has started."""
        shown = "\x1b[?25h\n" if os.isatty(2) else ""  # a progress bar hides the cursor
        with contextlib.suppress(OSError):
            os.write(2, f"{shown}{self._message}\n".encode())
        end_at_once(self.status)


def end_at_once(status: int) -> None:
    """End this process, and those that it has started."""
    for child in multiprocessing.active_children():
        with contextlib.suppress(Exception):
            child.kill()
    os._exit(status)


@contextlib.contextmanager
def _handled(
    numbers: Iterable[int], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    """Handle signals in this way, apart from a hang-up that nohup has switched off."""
    old = {number: signal.getsignal(number) for number in numbers}
    if old.get(_HANG_UP) == signal.SIG_IGN:
        del old[_HANG_UP]
    for number in old:
        signal.signal(number, handler)
    already = set(_handling)
    _handling.update(old)
    try:
        yield
    finally:
        _handling.intersection_update(already)
        for number, before in old.items():
            signal.signal(number, before)


def _leave_to_parent() -> None:
    """In a forked process: Ctrl-C is the parent's business, and other signals end at once."""
    if _handling:
        signal.set_wakeup_fd(-1)
    while _handling:
        number = _handling.pop()
        signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
