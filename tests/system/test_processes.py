"""The pool of worker processes: order, bounds, failures and their ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from rate.system.processes import Processes, worker_index


def count(start: int, number: int) -> Iterator[int]:
    """`number` results of item `number`; items of an even number are slow."""
    for result in range(number):
        time.sleep(0.05 * (number % 2 == 0))
        yield start + result


def identify(item: int) -> list[tuple[int, int, str]]:
    time.sleep(0.05)
    return [(os.getpid(), worker_index(), os.environ.get("OMP_NUM_THREADS", ""))]


def fail(item: int) -> list[int]:
    if item == 2:
        raise KeyError(f"item {item}")
    return [item]


class UnsendableError(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__("two numbers")


def fail_unsendably(item: int) -> list[int]:
    raise UnsendableError(1, 2)


def die(item: int) -> list[int]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def die_once(folder: Path, item: int) -> Iterator[int]:
    """Each item kills the first worker that gets it, after a result."""
    yield item
    if item % 2 and not (folder / str(item)).exists():
        (folder / str(item)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield 10 + item


def wait_long(item: int) -> Iterator[int]:
    yield os.getpid()
    time.sleep(1000)


def test_results_come_in_the_order_of_the_items():
    items = [4, 0, 3, 2, 1, 6, 5]
    expected = [10 + result for item in items for result in range(item)]
    for workers in (1, 2):
        with Processes(workers) as processes:
            assert list(processes.results(partial(count, 10), items)) == expected
            assert list(processes.results(partial(count, 10), [])) == []
            assert sorted(processes.results(partial(count, 10), items, ordered=False)) == sorted(
                expected
            )


def test_results_are_yielded_before_their_item_is_over_and_a_caller_may_stop():
    with Processes(2) as processes:
        for results in (
            processes.results(wait_long, range(9)),
            processes.results(wait_long, range(9), ordered=False),
        ):
            worker = psutil.Process(next(results))
            results.close()
            assert not worker.is_running()
        assert list(processes.results(fail, [5])) == [5]


def test_items_are_read_as_needed():
    read = []
    with Processes(2) as processes:
        results = processes.results(fail, (read.append(item) or item for item in range(10, 99)))
        assert next(results) == 10
        assert len(read) <= 5
        results.close()


def test_workers_are_other_processes_with_an_index_and_threads_of_their_own():
    with Processes(2, threads=3) as processes:
        known = set(processes.results(identify, range(8)))
    assert {index for _, index, _ in known} == {0, 1}
    assert len({number for number, _, _ in known} - {os.getpid()}) == 2
    assert {threads for _, _, threads in known} == {"3"}
    assert next(Processes(1).results(identify, [0]))[:2] == (os.getpid(), 0)


def test_what_a_worker_raises_is_raised_here_after_the_results_before_it():
    with Processes(2) as processes:
        results = processes.results(fail, range(5))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(KeyError, match="item 2") as caught:
            next(results)
        assert "in fail" in caught.value.__notes__[0]
        with pytest.raises(RuntimeError, match="UnsendableError: two numbers"):
            list(processes.results(fail_unsendably, [1]))
        with pytest.raises(Exception, match="lambda"):
            list(processes.results(lambda item: [item], [1]))
        assert list(processes.results(fail, [1, 3])) == [1, 3]


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed with SIGKILL")
def test_a_worker_that_dies_is_said():
    with Processes(2) as processes:
        with pytest.raises(ValueError, match=r"a worker process died \(exit code -9\)"):
            list(processes.results(die, range(4)))
        assert list(processes.results(fail, [1, 3])) == [1, 3]


def test_fewer_than_one_worker_is_refused():
    with pytest.raises(ValueError, match="workers must be at least 1, but 0 was given"):
        Processes(0)


WAITING = """
import sys, time
from rate.system.processes import Processes
from waits import wait_long
if __name__ == "__main__":
    results = Processes(2).results(wait_long, range(2), ordered=False)
    print(next(results), next(results), flush=True)
    time.sleep(100)
"""
WAITS = """
import os, time
def wait_long(item):
    yield os.getpid()
    time.sleep(1000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed with SIGKILL")
def test_workers_end_with_a_process_that_is_killed(tmp_path: Path):
    (tmp_path / "waiting.py").write_text(WAITING)
    (tmp_path / "waits.py").write_text(WAITS)
    command = [sys.executable, str(tmp_path / "waiting.py")]
    # The command line sets PYTHONSAFEPATH; this script imports its neighbour.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own) as process:
        assert process.stdout is not None
        workers = [psutil.Process(int(number)) for number in process.stdout.readline().split()]
        process.kill()
    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def test_a_program_on_standard_input_may_use_workers() -> None:
    program = (
        "from rate.system.processes import Processes\n"
        "with Processes(2) as processes:\n"
        "    print(sorted(processes.results(range, [1, 3])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-"], input=program, text=True, capture_output=True, check=False
    )
    assert (done.stdout, done.returncode) == ("[0, 0, 1, 2]\n", 0), done.stderr


def test_workers_that_die_are_replaced_as_often_as_was_asked(tmp_path):
    (tmp_path / "first").mkdir()
    with Processes(2) as processes:
        found = list(
            processes.results(
                partial(die_once, tmp_path / "first"), range(4), ordered=False, replacements=2
            )
        )
        # The new worker begins its item anew.
        assert sorted(found) == [0, 1, 1, 2, 3, 3, 10, 11, 12, 13]
        with pytest.raises(ValueError, match="a worker process died"):
            list(processes.results(die, [0], replacements=1))
