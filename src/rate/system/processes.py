"""Worker processes, for collection, evaluation, selection and experiments alike.

    with Processes(4) as processes:
        for result in processes.results(function, items):
            ...

`function(item)` runs in a worker and returns an iterable; each of its results is sent as soon as it
is there. Functions, items and results are pickled: a function is one of a module, or a
`functools.partial` of one. With one process everything is computed in the calling one.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from rate.system.interruption import deferred, saving

Item = TypeVar("Item")
Result = TypeVar("Result")

_Message = tuple[Literal["result", "done", "failed"], Any]
_SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit locks of computing threads
LONGEST_SAVE = 20.0
"""Seconds that a worker may take to save when it is asked to end."""
_index = 0


class WorkerDiedError(ValueError):
    """A worker process died."""


def worker_index() -> int:
    """Number of this process among the workers of its pool, from 0; 0 in any other process."""
    return _index


class Processes:
    """A pool of worker processes, started when they are first needed.

    Workers are spawned, ignore Ctrl-C and end with this process even if it is killed. Use the pool
    as a context: at its end they are sent SIGTERM and waited for, so that one that trains can save.
    """

    def __init__(self, count: int, threads: int = 1) -> None:
        """Prepare a pool.

        Args:
            count: Number of processes; 1 stands for the calling process and starts none.
            threads: CPU threads of each worker; 0 leaves the number to the libraries.

        Raises:
            ValueError: `count` is less than 1.
        """
        if count < 1:
            raise ValueError(f"workers must be at least 1, but {count} was given")
        self.count = count
        self._threads = threads
        self._workers: dict[int, _Worker] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(list(self._workers.values()))

    def results(
        self,
        function: Callable[[Item], Iterable[Result]],
        items: Iterable[Item],
        *,
        ordered: bool = True,
        replacements: int = 0,
    ) -> Iterator[Result]:
        """Apply a function to items in the workers and yield its results one by one.

        At most `2 * count` items are under way or have results that wait to be yielded, and `items`
        is read as needed. A caller that stops early, or fails, ends the workers that are busy.

        Args:
            function: Called with one item; returns an iterable, such as a generator.
            items: What it is called with.
            ordered: Yield results in the order of the items; otherwise as they arrive.
            replacements: Workers that died and are replaced at most; each new one gets the item.

        Raises:
            ValueError: A worker died.
            Exception: What `function` raised, with the worker's traceback as a note.
        """
        if self.count == 1:
            for item in items:
                yield from function(item)
            return
        numbered = enumerate(items)
        queues: dict[int, deque[_Message]] = {}  # by number of the item
        busy: dict[Connection, tuple[_Worker, int, Item]] = {}
        try:
            while True:
                yield from _ready(queues, ordered)
                for index in self._idle(busy)[: 2 * self.count - len(queues)]:
                    task = next(numbered, None)
                    if task is None:
                        break
                    number, item = task
                    worker = self._started(index)
                    worker.send((function, item))
                    queues[number], busy[worker.pipe] = deque(), (worker, number, item)
                if not queues:
                    return
                for pipe in wait(list(busy)):
                    worker, number, item = busy[pipe]  # type: ignore[index]
                    try:
                        queues[number].append(message := worker.receive())
                    except WorkerDiedError:
                        if not replacements:
                            raise
                        replacements -= 1
                        del busy[worker.pipe]
                        worker = self._replaced(worker, (function, item))
                        busy[worker.pipe] = worker, number, item
                    else:
                        if message[0] != "result":
                            del busy[worker.pipe]
        finally:
            self._end([worker for worker, *_ in busy.values()])

    def _idle(self, busy: Mapping[Connection, object]) -> list[int]:
        return [
            index
            for index in range(self.count)
            if index not in self._workers or self._workers[index].pipe not in busy
        ]

    def _started(self, index: int) -> "_Worker":
        if index not in self._workers:
            self._workers[index] = _Worker(index, self._threads)
        return self._workers[index]

    def _replaced(self, dead: "_Worker", task: tuple[Callable[[Any], Any], Any]) -> "_Worker":
        """A new worker in the place of one that died, with what that one did."""
        del self._workers[dead.index]
        worker = self._started(dead.index)
        worker.send(task)
        return worker

    def _end(self, workers: list["_Worker"]) -> None:
        """End workers, apart from those that have been ended already."""
        workers = [worker for worker in workers if self._workers.get(worker.index) is worker]
        for worker in workers:
            del self._workers[worker.index]
            worker.stop()
        with saving():
            for worker in workers:
                worker.end()


def run_apart(function: Callable[[Item], Iterable[Any]], item: Item) -> None:
    """Run a function to its end in a process of its own, which may crash.

    Args:
        function: Called with the item; returns an iterable, whose results are dropped.
        item: What it is called with.

    Raises:
        WorkerDiedError: It crashed.
        Exception: What `function` raised.
    """
    # A forked process needs not import the script again.
    kind = "fork" if sys.platform == "linux" else "spawn"
    worker = _Worker(context=multiprocessing.get_context(kind))
    try:
        worker.send((function, item))
        while (message := worker.receive())[0] == "result":
            pass
        if message[0] == "failed":
            raise message[1]
    finally:
        worker.stop()
        worker.end()


def _ready(queues: dict[int, deque[_Message]], ordered: bool) -> Iterator[Any]:
    """Yield results that have arrived, and remove items whose last result was yielded."""
    for number in list(queues):
        queue = queues[number]
        while queue:
            kind, value = queue.popleft()
            if kind == "failed":
                raise value
            if kind == "done":
                del queues[number]
            else:
                yield value
        if ordered and number in queues:
            return


class _Worker:
    """A worker process and the pipe to it."""

    def __init__(self, index: int = 0, threads: int = 0, context: Any = _SPAWN) -> None:
        self.index = index
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, index, threads))
        with deferred():
            with _importable_main(), _without_interrupt():
                self.process.start()
            theirs.close()

    def send(self, task: tuple[Callable[[Any], Any], Any]) -> None:
        """Give the worker something to do.

        Raises:
            ValueError: The worker died.
        """
        try:
            self.pipe.send(task)
        except OSError as error:
            raise self._died() from error

    def receive(self) -> _Message:
        """Wait for the next message.

        Raises:
            ValueError: The worker died.
        """
        try:
            message: _Message = self.pipe.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        return message

    def stop(self) -> None:
        """Ask the worker to end."""
        self.pipe.close()
        self.process.terminate()

    def end(self) -> None:
        """Wait until the worker has ended; one that does not save within a while is killed."""
        self.process.join(LONGEST_SAVE)
        self.process.kill()
        self.process.join()

    def _died(self) -> ValueError:
        self.process.join(10)
        return WorkerDiedError(
            f"a worker process died (exit code {self.process.exitcode}): if memory ran out, use "
            "fewer workers or step fewer environments together. A script that asks for workers "
            "must do so below `if __name__ == '__main__':`, because each worker imports it"
        )


@contextmanager
def _importable_main() -> Iterator[None]:
    """Within this context started processes do not import a main module that is no file, such as
    standard input."""
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is None or os.path.exists(path):
        yield
        return
    main.__file__ = None
    try:
        yield
    finally:
        main.__file__ = path


def _work(pipe: Connection, index: int, threads: int) -> None:
    """What a worker does: tasks, until the pool ends."""
    global _index
    _index = index
    depend_on_parent()
    if threads:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = str(threads)
        if "torch" in sys.modules:  # otherwise it reads the variables when it is imported
            sys.modules["torch"].set_num_threads(threads)
    try:
        while True:
            for message in _messages(pipe.recv_bytes()):
                pipe.send_bytes(message)
    except (EOFError, OSError):
        return


def _messages(task: bytes) -> Iterator[memoryview]:
    """The pickled messages that answer a pickled task."""
    try:
        function, item = ForkingPickler.loads(task)
        for result in function(item):
            yield ForkingPickler.dumps(("result", result))
    except Exception as error:
        error.add_note(f"In a worker process:\n{traceback.format_exc()}")
        yield ForkingPickler.dumps(("failed", _portable(error)))
    else:
        yield ForkingPickler.dumps(("done", None))


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same if it cannot be sent to another process."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def depend_on_parent() -> None:
    """Leave Ctrl-C to the parent of this process, and end when it is gone; a parent that is killed
    cannot end its workers."""

    def wait() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _without_interrupt() -> Iterator[None]:
    """Processes that are started in this context are spared Ctrl-C until they can ignore it."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
