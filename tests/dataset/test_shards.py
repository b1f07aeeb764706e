"""Datasets of several folders: what is read from them is what one folder of all episodes gives."""

import itertools
import pickle
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

import rate
from rate.cli import main
from rate.dataset import BatchReader, DatasetError, Sampler, cached, open_dataset, write_dataset
from rate.dataset.shards import JoinedArray
from rate.dataset.validate import findings, statistics
from rate.episode import Episode
from rate.runs.checkpoint import read_tensors
from rate.runs.folder import RunError
from rate.storage.files import read_jsonl

SPACE = gymnasium.spaces.Dict(
    {
        "numbers": gymnasium.spaces.Box(-9, 9, (3,), np.float32),
        "image": gymnasium.spaces.Box(0, 255, (6, 6, 3), np.uint8),
    }
)
ACTIONS = gymnasium.spaces.Discrete(4)


def episodes(count: int, seed: int) -> list[Episode]:
    """Episodes of 3 to 11 steps, in whose images some frames repeat."""
    random = np.random.default_rng(seed)
    made = []
    for index in range(count):
        steps = int(random.integers(3, 12))
        frames = random.integers(0, 256, (3, 6, 6, 3), np.uint8)
        last = np.arange(steps) == steps - 1
        made.append(
            Episode(
                {
                    "numbers": random.normal(seed, 1, (steps + 1, 3)).astype(np.float32),
                    "image": frames[random.integers(0, 3, steps + 1)],
                },
                random.integers(0, 4, steps),
                random.random(steps).astype(np.float32),
                last,
                last & False,
                seed=index,
            )
        )
    return made


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Three shards in a folder, and one dataset of all their episodes."""
    folder = tmp_path_factory.mktemp("data")
    recorded = [episodes(count, seed) for seed, count in enumerate((5, 1, 7))]
    for number, some in enumerate(recorded):
        write_dataset(folder / "shards" / f"{number:03}", some, SPACE, ACTIONS)
    write_dataset(folder / "whole", [one for some in recorded for one in some], SPACE, ACTIONS)
    return folder


@pytest.fixture(params=["folder", "several"])
def opened(request, parts):
    shards = parts / "shards"
    path = shards if request.param == "folder" else sorted(shards.iterdir())
    return open_dataset(path), open_dataset(parts / "whole")


def test_shards_hold_what_one_folder_holds(opened):
    shards, whole = opened
    assert (len(shards), shards.steps, shards.return_scale) == (13, whole.steps, whole.return_scale)
    np.testing.assert_array_equal(shards.lengths, whole.lengths)
    np.testing.assert_array_equal(shards.returns, whole.returns)
    for mine, theirs in zip(
        map(shards.episode, range(-1, 13)), map(whole.episode, range(-1, 13)), strict=True
    ):
        for leaf, array in theirs.observations.items():
            np.testing.assert_array_equal(mine.observations[leaf], array)
        np.testing.assert_array_equal(mine.actions, theirs.actions)
        assert mine.seed == theirs.seed
    assert shards.card["lengths"] == whole.card["lengths"]
    assert shards.card["returns"] == whole.card["returns"]
    for leaf, moments in whole.normalisation.items():
        for one, other in zip(shards.normalisation[leaf], moments, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5)
    assert shards.content_hash != whole.content_hash
    assert [one.content_hash for one in pickle.loads(pickle.dumps([shards]))] == [
        shards.content_hash
    ]


@pytest.mark.parametrize("where", ["off", "memory", "device"])
@pytest.mark.parametrize("stack_frames", [1, 3])
def test_batches_of_shards_are_those_of_one_folder(where, stack_frames, opened):
    readers = [
        BatchReader(
            cached(one, where, torch.device("cpu")),
            [Sampler(one.lengths, 5, 4, "stride", 0)],
            6,
            2,
            next_observation=stack_frames == 1,
            stack_frames=stack_frames,
        )
        for one in opened
    ]
    for update in range(6):
        for mine, theirs in zip(*(reader[update].parts for reader in readers), strict=True):
            assert mine.lengths == theirs.lengths
            for name in ("actions", "rewards", "returns_to_go", "terminations", "timesteps"):
                assert torch.equal(getattr(mine, name), getattr(theirs, name))
            for name in ("observations", "next_observation", "frames"):
                for leaf, tensor in getattr(theirs, name).items():
                    assert torch.equal(getattr(mine, name)[leaf], tensor)


def test_an_epoch_holds_every_step_of_every_shard_once(opened):
    shards, _ = opened
    sampler = Sampler(shards.lengths, 4, 3, "stride", seed=7)
    windows = int((-(-shards.lengths // 3)).sum())
    assert windows % 4  # an epoch ends within a batch
    seen = np.zeros(shards.steps, int)
    counted = 0
    offsets = shards.arrays["episode_offsets"]
    for update in itertools.count():
        plan = sampler.plan(update)
        for row in range(len(plan)):
            if counted < windows:
                start = offsets[plan.episodes[row]] + plan.starts[row]
                seen[start : start + plan.lengths[row]] += 1
                counted += 1
        if counted == windows:
            break
    assert (seen == 1).all()


def test_what_is_said_of_shards_is_what_is_said_of_one_folder(opened, capsys):
    shards, whole = opened
    assert [str(one) for one in findings(shards)] == [str(one) for one in findings(whole)]
    mine, theirs = statistics(shards), statistics(whole)
    assert list(mine) == list(theirs)
    for name, row in theirs.items():
        np.testing.assert_allclose(mine[name], row, rtol=1e-4, err_msg=name)
    assert main(["data", "info", str(shards.path)]) == 0
    assert "13 of" in capsys.readouterr().out or shards.path.name == "000"


@pytest.fixture
def split_recall(recall, tmp_path):
    """The episodes of a dataset in two folders."""
    whole = open_dataset(recall)
    folders = [tmp_path / "data" / name for name in ("first", "second")]
    for folder, chosen in zip(folders, (range(20), range(20, 64)), strict=True):
        chosen = map(whole.episode, chosen)
        write_dataset(folder, chosen, whole.observation_space, whole.action_space, task="recall/12")
    return folders


def losses(run):
    return [row["loss"] for row in read_jsonl(run / "metrics.jsonl")]


def test_training_on_shards_is_training_on_one_folder_and_resumes_exactly(
    tiny, split_recall, tmp_path, monkeypatch
):
    options = {"threads": 1, "accelerator": "cpu"}
    one = rate.train(tiny(sampling="stride"), tmp_path / "one", **options)
    recipe = replace(tiny(sampling="stride"), dataset=tuple(map(str, split_recall)))
    whole = rate.train(recipe, tmp_path / "runs" / "whole", **options)
    assert losses(whole) == losses(one)
    run = tmp_path / "runs" / "run"
    part = replace(recipe, checkpoint_every=2)
    with monkeypatch.context() as patch:
        patch.setattr("rate.training.loop.Training._due", _stop_at(4))
        with pytest.raises(KeyboardInterrupt):
            rate.train(part, run, **options)
    # The run and its shards are moved; the position in the data is in the checkpoint.
    (tmp_path / "moved").mkdir()
    (tmp_path / "data").rename(tmp_path / "moved" / "data")
    (tmp_path / "runs").rename(tmp_path / "moved" / "runs")
    moved = tmp_path / "moved" / "runs" / "run"
    monkeypatch.chdir(tmp_path / "moved")
    rate.resume(moved)
    assert losses(moved) == losses(one)
    mine, _ = read_tensors(moved / "last.safetensors")
    theirs, _ = read_tensors(moved.parent / "whole" / "last.safetensors")
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    with pytest.raises(RunError, match="has changed since"):
        rate.resume(moved, dataset=["data/second", "data/first"])


def _stop_at(update):
    def due(training, count, *every):
        if count == update + 1:
            raise KeyboardInterrupt
        return count % 2 == 0

    return due


def test_the_command_line_takes_several_folders(split_recall, tmp_path, capsys):
    words = ["--run", str(tmp_path / "run"), "--updates", "2", "--threads", "1"]
    words += ["--batch-size", "8", "--model.segment-length", "4", "--optimiser.warmup", "1"]
    assert main(["train", "mlp", "--dataset", *map(str, split_recall), *words]) == 0
    words = ["--resume", str(tmp_path / "run"), "--dataset", *map(str, split_recall)]
    assert main(["train", *words]) == 0
    assert "is another one" not in capsys.readouterr().err
    assert main(["data", "info", str(split_recall[0].parent)]) == 0
    assert "64 of" in capsys.readouterr().out


def test_shards_that_do_not_go_together_are_refused(parts, recall, tmp_path):
    first, *_ = sorted((parts / "shards").iterdir())
    with pytest.raises(DatasetError, match="shards of one dataset have the same spaces"):
        open_dataset([first, recall])
    with pytest.raises(DatasetError, match=r"holds the same data as .*: name each shard once"):
        open_dataset([first, first])
    with pytest.raises(DatasetError, match="at least one folder"):
        open_dataset([])
    with pytest.raises(DatasetError, match="is not a dataset"):
        open_dataset([first, tmp_path])


def test_an_array_of_parts_reads_like_one():
    parts = [np.arange(12).reshape(3, 2, 2), np.arange(100, 120).reshape(5, 2, 2)]
    joined, whole = JoinedArray(parts), np.concatenate(parts)
    assert (joined.shape, joined.dtype, joined.nbytes, len(joined)) == (
        whole.shape,
        whole.dtype,
        whole.nbytes,
        len(whole),
    )
    for rows in (
        slice(None),
        slice(1, 7),
        slice(4, 4),
        slice(3, 8),
        slice(-3, None),
        slice(0, 8, 3),
    ):
        np.testing.assert_array_equal(joined[rows], whole[rows])
    for rows in (np.array([[7, 0], [2, 3]]), np.array([-1, -8]), whole[:, 0, 0] > 5, 4, -2):
        np.testing.assert_array_equal(joined[rows], whole[rows])
    np.testing.assert_array_equal(np.array(joined), whole)
    for rows in (8, np.array([0, 9]), -9):
        with pytest.raises(IndexError, match="of an array of 8"):
            joined[rows]
