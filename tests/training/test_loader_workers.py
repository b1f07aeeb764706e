"""Training with batches that other processes read."""

import os
import signal
import threading

import pytest
import torch

import rate
from rate.runs.checkpoint import read_tensors
from rate.storage.files import read_jsonl
from rate.system.interruption import Interrupted


def losses(run):
    return [row["loss"] for row in read_jsonl(run / "metrics.jsonl")]


def weights(run):
    return read_tensors(run / "last.safetensors")[0]


@pytest.mark.parametrize("sampling", ["first", "uniform"])
def test_loader_workers_change_no_loss_and_no_weight(sampling, tiny, tmp_path):
    recipe = tiny(sampling=sampling, dropout=0.1)
    runs = [
        rate.train(recipe, tmp_path / str(workers), accelerator="cpu", loader_workers=workers)
        for workers in (0, 2)
    ]
    assert losses(runs[0]) == losses(runs[1])
    one, other = map(weights, runs)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_with_loader_workers_resumes_to_the_same_losses(number, tiny, tmp_path):
    recipe = tiny(updates=60, sampling="uniform")
    whole = rate.train(recipe, tmp_path / "whole", accelerator="cpu")
    run = tmp_path / "run"

    def interrupt():
        while not (run / "metrics.jsonl").exists() or len(losses(run)) < 5:
            pass
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted):
        rate.train(recipe, run, accelerator="cpu", loader_workers=2)
    assert len(losses(run)) < 60
    rate.resume(run)
    assert losses(run) == losses(whole)
