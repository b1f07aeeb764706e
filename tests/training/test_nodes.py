"""Processes that torchrun has started, as two nodes of one process each on the loopback address."""

import json
import multiprocessing
import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import rate
from rate import recipe as recipes
from rate.runs.checkpoint import read_tensors
from rate.storage.files import read_jsonl
from rate.training.devices import TrainingCompute
from rate.training.nodes import placed

# Processes are forked from a server that has imported everything.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["rate.training", "rate.models.rate", "torch.optim", "torch._dynamo"])
RECORDED = ("loss", "accuracy", "gradient_norm", "validation_loss")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def process(rank: int, port: int, recipe: dict, run: str, options: dict, errors) -> None:
    """Body of a process as torchrun starts it on a node of its own."""
    torch.set_num_threads(1)
    os.environ |= {
        **{"TORCHELASTIC_RUN_ID": "test", "RANK": str(rank), "WORLD_SIZE": "2"},
        **{"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GROUP_RANK": str(rank)},
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
    }
    try:
        rate.train(recipes.from_json(recipe), run, threads=1, accelerator="cpu", **options)
    except Exception as error:
        errors.put((rank, f"{type(error).__name__}: {error}"))


def nodes(recipes_, run, *options) -> dict[int, str]:
    """Train as two nodes; returns the errors of those that failed."""
    port, errors = free_port(), SERVER.Queue()
    recipes_ = recipes_ if isinstance(recipes_, list) else [recipes_] * 2
    options = options or ({}, {})
    processes = [
        SERVER.Process(
            target=process,
            args=(rank, port, recipes_[rank].to_json(), str(run), options[rank], errors),
        )
        for rank in range(2)
    ]
    for one in processes:
        one.start()
    for one in processes:
        one.join(600)
        assert one.exitcode == 0
    found = {}
    while len(found) < 2 and not errors.empty():
        found.update([errors.get()])
    return found


def recorded(run, name):
    return [row[name] for row in read_jsonl(Path(run) / "metrics.jsonl") if name in row]


def test_two_nodes_give_the_losses_of_one_process_and_continue_what_is_there(tiny, tmp_path):
    recipe = tiny(updates=4, micro_batch=2, checkpoint_every=2)
    one = rate.train(recipe, tmp_path / "one", threads=1, accelerator="cpu")
    two = tmp_path / "two"
    assert nodes(recipe, two) == {}
    for name in RECORDED:
        np.testing.assert_allclose(
            recorded(two, name), recorded(one, name), rtol=0, atol=1e-5, err_msg=name
        )
    assert len(recorded(two, "loss")) == 4  # rank 0 alone has written
    facts = json.loads((two / "provenance.json").read_text())
    assert (facts["devices"], facts["nodes"]) == (1, 2)
    # The same command again goes on; here there is nothing left to do.
    before = (two / "last.safetensors").read_bytes()
    assert nodes(recipe, two) == {}
    assert (two / "last.safetensors").read_bytes() == before


def test_nodes_that_disagree_all_say_so(tiny, tmp_path):
    found = nodes([tiny(), tiny(updates=7)], tmp_path / "run")
    assert len(found) == 2
    assert all("differ in what is trained" in text for text in found.values())
    rate.train(tiny(updates=2), tmp_path / "other", threads=1, accelerator="cpu")
    found = nodes(tiny(), tmp_path / "other")
    assert "RunError: " in found[0]
    assert "holds a run of another recipe" in found[0]
    assert "process 0 of those that torchrun has started" in found[1]


def test_devices_and_nodes_are_those_that_torchrun_says(monkeypatch):
    with pytest.raises(ValueError, match="2 nodes train together only if torchrun"):
        placed(TrainingCompute(nodes=2))
    assert placed(TrainingCompute(devices=2)) == TrainingCompute(devices=2)
    for name, value in {"RANK": 0, "WORLD_SIZE": 4, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    assert placed(TrainingCompute(loader_workers=1)) == TrainingCompute(
        devices=2, nodes=2, loader_workers=1
    )
    with pytest.raises(ValueError, match="leave --devices at 1"):
        placed(TrainingCompute(devices=3))


def started(folder, port, rank):
    """torchrun on one of two nodes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    command += ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test"]
    command += ["--max-restarts=3", "--monitor-interval=0.5", "--local-addr=127.0.0.1"]
    command += ["train.py"]
    log = open(folder / f"node-{rank}.txt", "a")  # noqa: SIM115
    return psutil.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)


def worker_of(agent):
    """The training process that torchrun has started."""
    for child in agent.children(recursive=True):
        if child.is_running() and "train.py" in child.cmdline():
            return child
    return None


def until(condition, seconds=240.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return value


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["process", "node"])
def test_a_killed_process_or_node_is_restarted_and_ends_as_if_nothing_had_happened(
    killed, tiny, tmp_path, monkeypatch
):
    recipe = tiny(updates=300, checkpoint_every=10, dropout=0.1, attention_dropout=0.1)
    recipe = replace(recipe, selection=replace(recipe.selection, every=50))
    quiet = tmp_path / "quiet"
    assert nodes(recipe, quiet) == {}
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    (tmp_path / "train.py").write_text(
        "import json, sys, rate\n"
        "from rate import recipe as recipes\n"
        "rate.train(recipes.from_json(json.load(open('recipe.json'))), 'run', threads=1,\n"
        "           accelerator='cpu')\n"
    )
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.to_json()))
    port, run = free_port(), tmp_path / "run"
    agents = [started(tmp_path, port, rank) for rank in range(2)]
    try:
        until(lambda: (run / "training.safetensors").exists())
        time.sleep(0.5)
        if killed == "process":
            worker_of(agents[1]).kill()
        else:
            # torchrun takes a lost node for present for minutes, so both are started again.
            lost = [*agents[1].children(recursive=True), agents[1]]
            for one in lost:
                one.kill()
            agents[0].terminate()
            psutil.wait_procs([*lost, agents[0]], timeout=60)
            port = free_port()
            agents = [started(tmp_path, port, rank) for rank in range(2)]
        for agent in agents:
            assert agent.wait(400) == 0, (tmp_path / "node-0.txt").read_text()[-3000:]
    finally:
        for agent in agents:
            for one in [*agent.children(recursive=True), agent] if agent.is_running() else []:
                one.kill()
    # A killed process may have lost updates since the last checkpoint: they are done again.
    assert recorded(run, "loss") == recorded(quiet, "loss")
    mine, _ = read_tensors(run / "last.safetensors")
    theirs, _ = read_tensors(quiet / "last.safetensors")
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
