"""Acting in several processes changes how long it takes, and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import rate
from rate.acting.workers import Acting, Workers
from rate.files import read_jsonl


@pytest.fixture
def run(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_scores_do_not_depend_on_the_number_of_workers(run):
    noise = rate.Corruption("memory", 0.7)
    for options in ({}, {"sample": True}, {"corruption": noise}):
        alone, shared = (
            [
                row["scores"]
                for row in rate.evaluate(
                    run, ["recall/12", "recall/24"], episodes=9, workers=workers, **options
                )
            ]
            for workers in (1, 2)
        )
        assert alone == shared


def test_what_a_worker_cannot_play_is_said_in_its_words(run):
    with pytest.raises(ValueError, match="cannot compute on the device 'abacus'"):
        rate.evaluate(run, ["recall/12"], episodes=4, workers=2, device="abacus")
    with pytest.raises(ValueError, match="workers must be at least 1, but 0 was given"):
        rate.evaluate(run, ["recall/12"], episodes=4, workers=0)


def test_the_best_checkpoint_is_chosen_by_the_same_scores_in_several_processes(tiny, tmp_path):
    recipe = tiny(updates=4)
    selection = type(recipe.selection)(every=2, episodes=5, task="recall/12")
    recipe = tiny(updates=4, selection=selection)
    chosen = []
    for workers in (1, 2):
        run = rate.train(
            recipe, tmp_path / str(workers), threads=1, workers=workers, accelerator="cpu"
        )
        rows = [row for row in read_jsonl(run / "metrics.jsonl") if "selection_score" in row]
        assert all(0 < row["selection_seconds"] <= rows[-1]["seconds"] for row in rows)
        assert not list(run.glob(".*"))
        chosen.append([row["selection_score"] for row in rows])
    assert chosen[0] == chosen[1]


def test_progress_adds_up(run):
    acting, moved = Acting(run / "last.safetensors", "recall/12"), []
    with Workers(1) as workers:
        assert len(list(workers.outcomes(acting, range(5), parallel=2, progress=moved.append))) == 5
        assert sum(moved) == workers.ticks(5, 2, 12)
    assert Workers(2).ticks(5, 4, 12) == 3


WAITING = """
from rate.acting.workers import Acting, Workers
from pathlib import Path
import sys, time
if __name__ == "__main__":
    workers = Workers(2)
    list(workers.outcomes(Acting(Path(sys.argv[1]), "recall/12"), range(4)))
    print(*(process.pid for process in workers._pool._processes.values()), flush=True)
    time.sleep(100)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed with SIGKILL")
def test_workers_end_with_a_process_that_is_killed(trained, tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING)
    command = [sys.executable, str(tmp_path / "waiting.py"), str(trained / "last.safetensors")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        workers = [psutil.Process(int(number)) for number in process.stdout.readline().split()]
        process.kill()
    assert len(workers) >= 1
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
