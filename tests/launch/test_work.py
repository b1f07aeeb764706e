"""Any number of processes do a plan, and are killed while they do: nothing is lost, nothing is done
twice, and the rows are those of one process that nobody disturbs."""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
import torch
from small_runs import at_work, interrupted, require_equal, require_once, write_experiment

import rate
from rate.cli import main
from rate.experiments.outline import Subset
from rate.launch.claims import Claims
from rate.launch.experiment import plan_experiment
from rate.launch.plan import Job, Plan, PlanError, training_jobs, write_plan
from rate.launch.seeds import plan_seeds
from rate.launch.work import status
from rate.models import mlp
from rate.recipe import Recipe
from rate.runs.folder import Run
from rate.storage.files import read_jsonl

# Processes are forked from a server that has imported everything.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["rate.launch.work", "rate.cli.launching", "rate.models.rate"])


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Makes an experiment in the current folder."""
    monkeypatch.chdir(tmp_path)
    return lambda seeds, updates=2: write_experiment(tmp_path, seeds, updates)


def node(name: str, words: list[str]) -> None:
    """Body of a process: a worker on a simulated node."""
    os.environ["SLURMD_NODENAME"] = name
    torch.set_num_threads(1)
    os._exit(main(words))


def started(name, plan, *words):
    arguments = ["work", str(plan.path), "--expire", "2", "--trust", *words]
    process = SERVER.Process(target=node, args=(name, arguments))
    process.start()
    return process


def disturbed(plan, kills, seed, between):
    """Two nodes do a plan, and are killed and started again at random; returns how often."""
    moments, killed = random.Random(seed), 0
    nodes = {name: started(name, plan) for name in ("n1", "n2")}
    until = time.monotonic() + 900
    while any(process.exitcode != 0 for process in nodes.values()):
        assert time.monotonic() < until
        time.sleep(moments.uniform(*between) if killed < kills else 0.1)
        for name, process in nodes.items():
            assert process.exitcode in (None, 0, -9), f"{name} ended with {process.exitcode}"
        name = moments.choice(sorted(nodes))
        if killed < kills and nodes[name].pid in at_work(plan):
            nodes[name].kill()
            nodes[name].join()
            nodes[name] = started(name, plan)
            killed += 1
    return killed


def test_two_nodes_that_are_killed_come_to_the_rows_of_a_serial_run(experiment):
    name, seed = experiment(seeds=2), random.SystemRandom().randrange(2**32)
    subset = Subset(variants=("gru",))
    plan = plan_experiment(name, output="out", subset=subset)
    killed = disturbed(plan, 2, seed, (0.0, 0.05))
    assert 1 <= interrupted(plan) <= killed == 2, seed  # one may be killed as it ends a job
    require_once(plan)
    require_equal(Path("out"), rate.reproduce(name, "serial", subset=subset, threads=1))


@pytest.mark.slow
def test_a_plan_of_24_runs_survives_random_kills(experiment):
    name, seed = experiment(seeds=12, updates=40), random.SystemRandom().randrange(2**32)
    plan = plan_experiment(name, output="out")
    assert sum(job.verb == "train" for job in plan.jobs) == 24
    killed = disturbed(plan, 30, seed, (0.0, 0.5))
    assert 10 <= interrupted(plan) <= killed, seed  # one may be killed as it ends a job
    require_once(plan)
    require_equal(Path("out"), rate.reproduce(name, "serial", threads=1))


def test_a_failed_job_holds_up_only_those_that_need_it(tiny, tmp_path, capsys):
    plan = Plan(tmp_path / "plan.jsonl")
    runs = {seed: tmp_path / f"run-{seed}" for seed in (0, 1)}
    good, bad = training_jobs(plan, tiny(updates=2), runs)
    bad.options["recipe"] = {**bad.options["recipe"], "dataset": "missing"}
    score = {"task": "recall/12", "checkpoint": "last", "episodes": 2, "corruption": None}
    needs = Job("score", "evaluate", {"run": "run-1", "scores": [score]}, (bad.name,))
    last = Job("last", "evaluate", {"run": "run-1", "scores": [score]}, (needs.name,))
    write_plan(plan.path, [good, bad, needs, last])
    with pytest.raises(PlanError, match=r"1 of 4 jobs .* train-run-1 failed: .*missing") as error:
        rate.work(plan.path, threads=1)
    assert "--retry" in str(error.value)
    read = write_plan(plan.path, [good, bad, needs, last])
    found = status(read, Claims(read.claims, 1))
    assert [text.partition(":")[0] for text in found.values()] == [
        "done",
        "failed",
        "waiting",
        "waiting",
    ]
    assert main(["work", str(plan.path), "--status"]) == 2
    shown = capsys.readouterr()
    assert "waiting" in shown.out
    rate.collect("recall/12", tmp_path / "missing", episodes=8)
    assert set(rate.work(plan.path, threads=1, retry=True).values()) == {"done"}


def test_the_command_line_writes_a_plan_and_does_it(experiment, capsys):
    name = experiment(seeds=1)
    assert main(["reproduce", name, "--output", "out", "--plan", "plan.jsonl"]) == 0
    assert "plan.jsonl: 6 jobs (1 collect, 2 train, 2 evaluate, 1 report)" in (
        capsys.readouterr().out.replace("\n", " ")
    )
    assert not Path("out").exists()
    words = ["--plan", "plan.jsonl", "--output", "out", "--launcher", "local", "--threads", "1"]
    assert main(["reproduce", name, *words]) == 0
    assert "Small runs" in capsys.readouterr().out
    assert len(read_jsonl("out/rows.jsonl")) == 2
    assert main(["reproduce", name, "--launcher", "moon"]) == 2
    assert "unknown launcher 'moon'" in capsys.readouterr().err


def test_a_subset_goes_into_the_plan(experiment):
    plan = plan_experiment(experiment(seeds=3), output="out", subset=Subset(variants=("mlp",)))
    assert [job.name for job in plan.jobs if job.verb == "train"] == [
        "train-mlp-0",
        "train-mlp-1",
        "train-mlp-2",
    ]


def test_several_seeds_of_a_recipe_of_ones_own_are_launched(recall, tmp_path, capsys):
    words = ["train", "mlp", "--dataset", str(recall), "--run", str(tmp_path / "runs")]
    words += ["--updates", "2", "--batch-size", "4", "--optimiser.warmup", "1", "--threads", "1"]
    assert main([*words, "--seeds", "0-1", "7", "--launcher", "local"]) == 0
    assert "3 jobs (3 train)" in capsys.readouterr().out
    for seed in (0, 1, 7):
        assert len(Run(tmp_path / "runs" / f"seed-{seed}").metrics()) == 2
    assert main([*words, "--launcher", "local"]) == 2
    assert "give their --seeds" in capsys.readouterr().err
    assert main([*words, "--seeds", "9-0"]) == 2
    assert "seeds are whole numbers and ranges such as 0-9" in capsys.readouterr().err
    long = plan_seeds(Recipe(str(recall), mlp.Config(4, 2, 16)), tmp_path / "many", seeds=range(90))
    assert len(long.path.name) < 100
