"""Which card a process computes on, and whether torchrun has started it."""

import multiprocessing
import os

import pytest
import torch

from rate.system.compute import Compute, is_first_process, started_by_torchrun


@pytest.fixture
def cards(monkeypatch):
    """A worker process of a machine with four cards."""
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return monkeypatch


def chosen(index, **options):
    Compute(**options).use_one_card(index)
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_workers_share_the_cards_of_a_machine_evenly(cards):
    found = []
    for index in range(6):
        found.append(chosen(index))
        cards.delenv("CUDA_VISIBLE_DEVICES")
    assert found == ["0", "1", "2", "3", "0", "1"]
    cards.setattr(torch.cuda, "device_count", lambda: 2)
    cards.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-7")  # what a scheduler has left to them
    assert chosen(3, accelerator="cuda") == "GPU-7"


def test_one_card_is_shared_and_nothing_else_is_touched(cards):
    assert chosen(1, accelerator="cpu") is None
    assert chosen(1, devices=2) is None  # a run on several cards
    cards.setattr(torch.cuda, "device_count", lambda: 1)
    assert chosen(1) is None
    cards.setattr(torch.cuda, "device_count", lambda: 4)
    cards.setattr(multiprocessing, "parent_process", lambda: None)
    assert chosen(1) is None  # the process of the user


def test_the_first_process_of_torchrun_is_known(monkeypatch):
    assert not started_by_torchrun()
    assert is_first_process()
    monkeypatch.setenv("RANK", "1")  # some cluster's variable
    assert is_first_process()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "7")
    assert started_by_torchrun()
    assert not is_first_process()
