"""D4RL's HDF5 files, the authors' pickled lists and Minari's MuJoCo sets: written as they are
published, read byte for byte, trained on and scored in the environment."""

import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import rate
from rate.acting.rollout import rollout
from rate.dataset import open_dataset
from rate.dataset.importers import ImportOptions, import_dataset
from rate.episode import Episode
from rate.models import mlp
from rate.recipe import Recipe, SelectionConfig
from rate.runs.checkpoint import load_policy
from rate.tasks.lookup import find

pytest.importorskip("mujoco")

LIMIT = 20
"""Steps after which episodes are cut; random ones fall after ten to forty."""
ACTIONS = gymnasium.spaces.Box(-1, 1, (3,), np.float32)


@pytest.fixture(scope="module")
def played() -> list[Episode]:
    """Episodes that fall, and some that are cut at the limit; D4RL keeps float32."""
    task = find("mujoco/Hopper,expert=random")
    assert task.expert is not None
    return list(rollout(task.expert(), replace(task, horizon=LIMIT), range(12)))


def joined(played: list[Episode], name: str) -> np.ndarray:
    return np.concatenate([getattr(episode, name) for episode in played])


def observed(episode: Episode) -> np.ndarray:
    return episode.observations["observation"].astype(np.float32)


def write_d4rl(path: Path, played: list[Episode]) -> None:
    """As in hopper_medium-v2.hdf5: arrays of all steps, further arrays and a group of metadata."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["observations"] = np.concatenate([observed(one)[:-1] for one in played])
        file["next_observations"] = np.concatenate([observed(one)[1:] for one in played])
        file["actions"], file["rewards"] = joined(played, "actions"), joined(played, "rewards")
        file["terminals"], file["timeouts"] = (
            joined(played, name) for name in ("terminations", "truncations")
        )
        file["infos/qpos"] = np.zeros((len(file["rewards"]), 6), np.float64)
        file["infos/action_log_probs"] = np.zeros(len(file["rewards"]), np.float32)
        file["metadata/algorithm"] = "SAC"


def write_pickle(path: Path, played: list[Episode]) -> None:
    """As in hopper-medium-v2.pkl: a list of dicts, one for each trajectory."""
    trajectories = [
        {
            "observations": observed(episode)[:-1],
            "next_observations": observed(episode)[1:],
            "actions": episode.actions,
            "rewards": episode.rewards,
            "terminals": episode.terminations,
        }
        for episode in played
    ]
    path.write_bytes(pickle.dumps(trajectories))


def write_minari(path: Path, played: list[Episode]) -> None:
    """As Minari 0.5 writes its mujoco/hopper sets, observations in float64."""
    minari = pytest.importorskip("minari")
    environment = gymnasium.make("Hopper-v5")
    buffers = [
        minari.data_collector.EpisodeBuffer(
            observations=one.observations["observation"],
            actions=one.actions,
            rewards=one.rewards.astype(np.float64),
            terminations=one.terminations,
            truncations=one.truncations,
        )
        for one in played
    ]
    minari.create_dataset_from_buffers(
        "mujoco/hopper/medium-v0", buffers, env=environment, data_format="hdf5"
    )


WRITERS = {"hopper_medium-v2.hdf5": write_d4rl, "hopper-medium-v2.pkl": write_pickle}
FORMATS = [*WRITERS, "mujoco/hopper/medium-v0"]


@pytest.fixture(params=FORMATS)
def imported(request, played, tmp_path, monkeypatch):
    """A dataset of each format, and the dtype of its observations."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    options = ImportOptions(action_space=ACTIONS)
    if request.param in WRITERS:
        WRITERS[request.param](tmp_path / request.param, played)
        source, dtype = str(tmp_path / request.param), np.float32
    else:
        write_minari(tmp_path, played)
        source, dtype, options = request.param, np.float64, ImportOptions()
    import_dataset(source, tmp_path / "data", options=options)
    return open_dataset(tmp_path / "data"), dtype


def test_a_recording_is_read_byte_for_byte(imported, played):
    dataset, dtype = imported
    assert len(dataset) == len(played)
    assert any(episode.truncations[-1] for episode in played)
    assert any(episode.terminations[-1] for episode in played)
    for index, expected in enumerate(played):
        episode = dataset.episode(index)
        leaf = episode.observations["observation"]
        assert leaf.dtype == dtype
        np.testing.assert_array_equal(leaf, expected.observations["observation"].astype(dtype))
        for name in ("actions", "rewards", "terminations", "truncations"):
            mine, theirs = getattr(episode, name), getattr(expected, name)
            np.testing.assert_array_equal(mine, theirs, err_msg=name)


def test_a_policy_from_a_recording_is_scored_in_the_environment(imported, played, tmp_path):
    dataset, _ = imported
    model = mlp.Config(segment_length=4, segments=2, width=8, hidden=8)
    recipe = Recipe(
        dataset=str(dataset.path),
        model=model,
        updates=2,
        batch_size=8,
        sampling="full",
        return_scale=1000.0,
        selection=SelectionConfig(fraction=0.1),
    )
    run = rate.train(recipe, tmp_path / "run", threads=1, accelerator="cpu")
    evaluate = partial(rate.evaluate, run, episodes=2, threads=1, accelerator="cpu")
    [row] = evaluate(["mujoco/Hopper,target_return=3600"])
    assert (row["metric"], row["target_return"]) == ("d4rl-score", 3600)
    assert len(row["returns"]) == 2
    assert row["scores"][0] == pytest.approx(100 * (row["returns"][0] + 20.272305) / 3254.572305)
    policy, _ = load_policy(run)
    seen = np.concatenate([observed(one) for one in played])
    statistics = dataset.normalisation["observation"]
    np.testing.assert_allclose(statistics[0], seen.mean(0), atol=1e-4)
    np.testing.assert_allclose(statistics[1], seen.std(0), rtol=1e-3)
    assert policy.config == model
    [again] = evaluate(["mujoco/Hopper,target_return=3600"], restart_return=True)
    assert again["restart_return"] is True
