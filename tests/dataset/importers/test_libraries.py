"""Files as other libraries write them: the same names, types and layouts."""

import json
import pickle
import sys
import types

import gymnasium
import h5py
import minari
import numpy as np
import pytest
import torch
from gymnasium import spaces

from rate.dataset.importers import ImportOptions, import_dataset, read

RNG = np.random.default_rng(0)


def last(dataset, name):
    return np.asarray(dataset.arrays[name])[dataset.arrays["episode_offsets"][1:] - 1].tolist()


# d3rlpy


def test_d3rlpy_1(tmp_path):
    """`MDPDataset.dump`: flags are float32, and version and kind are scalars."""
    ends = np.arange(40) % 10 == 9
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["observations"] = RNG.normal(size=(40, 4)).astype("f4")
        file["actions"] = RNG.integers(0, 2, 40).astype("i4")
        file["rewards"] = np.ones(40, "f4")
        file["terminals"] = (ends & (np.arange(40) < 20)).astype("f4")
        file["episode_terminals"] = ends.astype("f4")
        file["discrete_action"], file["version"] = True, "1.0"
        file["create_mask"], file["mask_size"] = False, 1
    found = import_dataset(tmp_path / "data.h5", tmp_path / "out")
    assert found.lengths.tolist() == [10] * 4
    assert last(found, "terminations") == [True, True, False, False]
    assert last(found, "truncations") == [False, False, True, True]
    assert "warnings" not in found.card["provenance"]


@pytest.mark.parametrize("parts", [1, 2])
def test_d3rlpy_2(tmp_path, parts):
    """`ReplayBuffer.dump`: arrays are named by column, episode and part, and have two axes."""
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["columns"] = ["observations", "actions", "rewards", "terminated"]
        file["num_episodes"], file["version"] = 11, "2.1"
        for index in range(11):
            steps = 3 + index
            for part in range(parts):
                name = f"observations_{index}_{part}" if parts > 1 else f"observations_{index}"
                file[name] = np.full((steps, 2 + part), index, "f4")
            file[f"actions_{index}"] = np.arange(steps)[:, None] % 3
            file[f"rewards_{index}"] = np.full((steps, 1), index, "f4")
            file[f"terminated_{index}"] = index % 2 == 0
    assert read(tmp_path / "data.h5").facts["format"] == "d3rlpy"
    found = import_dataset(tmp_path / "data.h5", tmp_path / "out")
    assert found.lengths.tolist() == [3 + index for index in range(11)]
    assert list(found.observation_leaves) == (["0", "1"] if parts > 1 else ["observation"])
    assert found.action_space == spaces.Discrete(3)
    assert [found.episode(index).rewards[0] for index in range(11)] == list(range(11))
    assert last(found, "terminations") == [index % 2 == 0 for index in range(11)]
    assert last(found, "truncations") == [index % 2 == 1 for index in range(11)]


# robomimic and ManiSkill


def test_robomimic(tmp_path):
    with h5py.File(tmp_path / "low_dim.hdf5", "w") as file:
        data = file.create_group("data")
        arguments = {"env_name": "Lift", "type": 1, "env_kwargs": {}}
        data.attrs["env_args"], data.attrs["total"] = json.dumps(arguments), 75
        for index in range(11):
            demo, steps = data.create_group(f"demo_{index}"), 5 + index
            demo.attrs["num_samples"] = steps
            demo["actions"] = RNG.uniform(-1, 1, (steps, 7))
            demo["states"] = RNG.normal(size=(steps, 32))
            demo["rewards"] = (np.arange(steps) == steps - 1).astype(float)
            demo["dones"] = (np.arange(steps) >= steps - 2).astype(int)
            for group, value in (("obs", 0), ("next_obs", 1)):
                seen = np.arange(steps) + value
                demo[f"{group}/robot0_eef_pos"] = np.tile(seen[:, None], 3).astype(float) + index
                demo[f"{group}/object"] = np.zeros((steps, 10))
        file["mask/train"] = np.array([b"demo_0", b"demo_2"])
    assert read(tmp_path / "low_dim.hdf5").facts["format"] == "robomimic"
    options = ImportOptions(action_space=spaces.Box(-1, 1, (7,)))
    with pytest.warns(UserWarning, match="states is not used, and looks like an observation"):
        found = import_dataset(tmp_path / "low_dim.hdf5", tmp_path / "out", options=options)
    assert found.lengths.tolist() == [5 + index for index in range(11)]
    assert list(found.observation_leaves) == ["object", "robot0_eef_pos"]
    seen = found.episode(10).observations["robot0_eef_pos"]
    assert seen[:, 0].tolist() == list(range(10, 26))
    assert all(last(found, "terminations"))
    facts = found.card["provenance"]
    assert (facts["environment"], facts["final_observation"]) == ("Lift", "recorded")


def test_groups_of_maniskill(tmp_path):
    """One observation more than actions, and no group `data`."""
    with h5py.File(tmp_path / "trajectory.h5", "w") as file:
        for index in range(3):
            group = file.create_group(f"traj_{index}")
            group["obs"] = np.arange(6, dtype="f4")[:, None] + index
            group["actions"] = np.zeros((5, 8), "f4")
            group["rewards"] = np.zeros(5, "f4")
            group["terminated"] = np.arange(5) >= 3
            group["truncated"] = np.arange(5) == 9
            group["success"] = np.arange(5) >= 3
    found = import_dataset(tmp_path / "trajectory.h5", tmp_path / "out")
    assert found.lengths.tolist() == [5, 5, 5]
    assert found.episode(2).observations["observation"].ravel().tolist() == [2, 3, 4, 5, 6, 7]
    assert last(found, "terminations") == [True] * 3


# Stable-Baselines3


@pytest.fixture
def buffers(monkeypatch):
    """The names under which Stable-Baselines3 pickles its buffers."""
    module = types.ModuleType("stable_baselines3.common.buffers")
    names = ("ReplayBuffer", "DictReplayBuffer", "RolloutBuffer", "DictRolloutBuffer")
    for name in names:
        setattr(module, name, type(name, (), {"__module__": module.__name__}))
    for name in ("stable_baselines3", "stable_baselines3.common", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)
    return module


def filled(buffer, steps, size, n_envs=2, after=True):
    """The attributes of a buffer after that many steps in each environment: environment e sees
    100 e + t, and its episodes end every 3 + e steps, those of environment 1 at time limits."""
    space = spaces.Box(-1, 1, (3,))
    space.seed(0)
    space.sample()  # which gives it a generator, pickled as well
    kept = {
        "buffer_size": size, "observation_space": space, "action_space": spaces.Discrete(4),
        "obs_shape": (3,), "action_dim": 1, "pos": steps % size, "full": steps >= size,
        "device": torch.device("cpu"), "n_envs": n_envs, "optimize_memory_usage": not after,
        "observations": np.zeros((size, n_envs, 3), "f4"),
        "next_observations": np.zeros((size, n_envs, 3), "f4"),
        "actions": np.zeros((size, n_envs, 1), np.int64), "rewards": np.zeros((size, n_envs), "f4"),
        "dones": np.zeros((size, n_envs), "f4"), "handle_timeout_termination": True,
        "timeouts": np.zeros((size, n_envs), "f4"),
    }  # fmt: skip
    if not after:
        del kept["next_observations"]
    for step in range(steps):
        for index in range(n_envs):
            row = step % size, index
            kept["observations"][row] = 100 * index + step
            if after:
                kept["next_observations"][row] = 100 * index + step + 1
            else:
                kept["observations"][(step + 1) % size, index] = -1
            kept["actions"][row], kept["rewards"][row] = step % 4, step
            kept["dones"][row] = step % (3 + index) == 2 + index
            kept["timeouts"][row] = kept["dones"][row] * index
    buffer.__dict__.update(kept)
    return buffer


def save(path, buffer):
    path.write_bytes(pickle.dumps(buffer, pickle.HIGHEST_PROTOCOL))
    return path


@pytest.mark.parametrize("container", ["pkl", "npz"])
@pytest.mark.parametrize("n_envs", [1, 2])
@pytest.mark.parametrize(
    ("steps", "first"),
    [(8, 0), (11, 1), (10, 0), (25, 15)],
)
def test_replay_buffers(tmp_path, buffers, steps, first, container, n_envs):
    buffer = filled(buffers.ReplayBuffer(), steps, 10, n_envs)
    path = tmp_path / f"buffer.{container}"
    if container == "pkl":
        save(path, buffer)
    else:
        kinds = np.ndarray | int
        np.savez(path, **{key: one for key, one in vars(buffer).items() if isinstance(one, kinds)})
    found = import_dataset(path, tmp_path / "out")
    assert found.action_space == spaces.Discrete(4)
    assert found.steps == n_envs * min(steps, 10)
    episodes = [found.episode(index) for index in range(len(found))]
    begin = [100 * environment + first for environment in range(n_envs)]
    for environment in range(n_envs):
        own = [
            one for one in episodes if one.observations["observation"][0, 0] // 100 == environment
        ]
        rewards = np.concatenate([one.rewards for one in own])
        assert rewards.tolist() == list(range(first, steps))
        assert own[0].observations["observation"][0, 0] == begin[environment]
        for one in own:
            seen = one.observations["observation"][:, 0]
            assert (np.diff(seen) == 1).all()
            ended = (seen[-2] % 100) % (3 + environment) == 2 + environment
            assert (one.terminations[-1], one.truncations[-1]) == (
                ended and environment == 0,
                ended and environment == 1,
            )
    assert found.card["provenance"]["final_observation"] == "recorded"


def test_replay_buffers_without_next_observations(tmp_path, buffers):
    buffer = filled(buffers.ReplayBuffer(), 13, 10, 1, after=False)
    found = import_dataset(save(tmp_path / "buffer.pkl", buffer), tmp_path / "out")
    rewards = np.concatenate([found.episode(index).rewards for index in range(len(found))])
    assert rewards.tolist() == list(range(4, 13))  # the newest observation has replaced the oldest
    assert found.card["provenance"]["final_observation"] == "repeated"


def test_replay_buffers_of_dict_observations(tmp_path, buffers):
    buffer = filled(buffers.DictReplayBuffer(), 9, 10)
    space = spaces.Dict({"a": spaces.Box(-1, 1, (3,)), "b": spaces.Discrete(3)})
    for name in ("observations", "next_observations"):
        seen = getattr(buffer, name)
        setattr(buffer, name, {"a": seen, "b": (seen[..., :1] % 3).astype(int)})
    buffer.observation_space, buffer.obs_shape = space, {"a": (3,), "b": (1,)}
    found = import_dataset(save(tmp_path / "buffer.pkl", buffer), tmp_path / "out")
    assert list(found.observation_leaves) == ["a", "b"]
    assert found.episode(0).observations["a"][:, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("n_envs", [1, 2])
def test_rollout_buffers(tmp_path, buffers, n_envs, trained):
    """Training from one flattens some of its arrays, an environment after the other."""
    buffer = filled(buffers.RolloutBuffer(), 10, 10, n_envs)
    for name in ("dones", "timeouts", "next_observations", "optimize_memory_usage"):
        delattr(buffer, name)
    starts = np.zeros((10, n_envs), "f4")
    starts[::5] = 1
    buffer.__dict__ |= {"episode_starts": starts, "pos": 10, "generator_ready": trained}
    if trained:
        for name in ("observations", "actions"):
            array = getattr(buffer, name)
            flat = array.swapaxes(0, 1).reshape(10 * n_envs, *array.shape[2:])
            setattr(buffer, name, flat)
    found = import_dataset(save(tmp_path / "buffer.pkl", buffer), tmp_path / "out")
    assert found.lengths.tolist() == [5] * 2 * n_envs
    for index in range(2 * n_envs):
        seen = found.episode(index).observations["observation"][:-1, 0]
        assert seen.tolist() == [100 * (index // 2) + 5 * (index % 2) + step for step in range(5)]
    assert last(found, "truncations") == [True, False] * n_envs


@pytest.mark.parametrize("name", ["Evil", "ReplayBuffer.__init__", "os"])
def test_other_objects_of_its_modules_are_refused(tmp_path, buffers, name):
    content = f"cstable_baselines3.common.buffers\n{name}\n)\x81}}b.".encode()
    (tmp_path / "buffer.pkl").write_bytes(b"\x80\x02" + content)
    with pytest.raises(ValueError, match="which would be run"):
        import_dataset(tmp_path / "buffer.pkl", tmp_path / "out")


# Loops over Gymnasium's environments


def loop(form, environment="CartPole-v1", episodes=5):
    """What a loop collects, in one of several forms, and how long its episodes are."""
    made = gymnasium.make(environment)
    made.action_space.seed(0)
    collected, lengths = [], []
    for seed in range(episodes):
        observation, _ = made.reset(seed=seed)
        collected.append([])
        while True:
            action = made.action_space.sample()
            after, reward, terminated, truncated, info = made.step(action)
            step = {
                "observation, action, reward, next, done": (
                    observation, action, reward, after, terminated or truncated
                ),
                "with infos": (observation, action, reward, after, terminated, truncated, info),
                "without next": (observation, action, float(reward), terminated, truncated),
                "numbers": (observation, int(action), reward, after, int(terminated or truncated)),
                "dicts": {
                    "obs": observation, "action": action, "reward": reward, "next_obs": after,
                    "terminated": terminated, "truncated": truncated, "info": info,
                },
            }[form]  # fmt: skip
            collected[-1].append(step)
            observation = after
            if terminated or truncated:
                break
        lengths.append(len(collected[-1]))
    return collected, lengths


FORMS = [
    "observation, action, reward, next, done",
    "with infos",
    "without next",
    "numbers",
    "dicts",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("environment", ["CartPole-v1", "FrozenLake-v1"])
def test_steps_of_a_loop(tmp_path, form, nested, environment):
    collected, lengths = loop(form, environment)
    data = collected if nested else [step for episode in collected for step in episode]
    (tmp_path / "steps.pkl").write_bytes(pickle.dumps(data))
    found = import_dataset(tmp_path / "steps.pkl", tmp_path / "out")
    assert found.lengths.tolist() == lengths
    assert all(last(found, "terminations"))
    first = collected[1][0]["obs" if form == "dicts" else 0]
    seen = found.episode(1).observations["observation"]
    assert np.array_equal(seen[0], first)
    recorded = form != "without next"
    assert found.card["provenance"]["final_observation"] == ("recorded" if recorded else "repeated")


@pytest.mark.parametrize("save", ["savez", "pickle"])
def test_lists_of_a_loop(tmp_path, save):
    collected, lengths = loop("dicts")
    steps = [step for episode in collected for step in episode]
    names = {"obs": "observations", "action": "actions", "reward": "rewards"}
    names |= {"terminated": "terminated", "truncated": "truncated"}
    lists = {name: [step[key] for step in steps] for key, name in names.items()}
    path = tmp_path / ("loop.npz" if save == "savez" else "loop.pkl")
    np.savez(path, **lists) if save == "savez" else path.write_bytes(pickle.dumps(lists))
    assert import_dataset(path, tmp_path / "out").lengths.tolist() == lengths


# Minari


def recorded(name, space, observations, action_space=None, actions=None):
    """A dataset of Minari with 3 episodes of 4 steps, kept by Minari itself."""
    buffers = [
        minari.data_collector.EpisodeBuffer(
            id=index,
            observations=observations,
            actions=np.arange(4) % 3 if actions is None else actions,
            rewards=[1.0] * 4,
            terminations=[False] * 3 + [True],
            truncations=[False] * 4,
            infos={},
        )
        for index in range(3)
    ]
    minari.create_dataset_from_buffers(
        name, buffers, observation_space=space, action_space=action_space or spaces.Discrete(3)
    )
    return name


TEXT = spaces.Text(20, charset="abcdefgh ")
LEFT_OUT = {
    "text": ({"mission": TEXT}, {"mission": ["a bad face"] * 5}, ["mission"]),
    "none": ({"no": spaces.Box(0, 1, (0,))}, {"no": np.zeros((5, 0), "f4")}, ["no"]),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # about an author and the like
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("kind", LEFT_OUT)
def test_minari_without_what_no_dataset_holds(tmp_path, monkeypatch, kind, given):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    more, values, ignored = LEFT_OUT[kind]
    kept = spaces.Dict({"place": spaces.Box(0, 9, (2,)), "way": spaces.Discrete(4)})
    seen = {"place": np.arange(10, dtype="f4").reshape(5, 2), "way": np.arange(5) % 4, **values}
    recorded("own/text-v0", spaces.Dict({**kept.spaces, **more}), seen)
    options = ImportOptions(observation_space=kept if given else None)
    found = import_dataset("own/text-v0", tmp_path / "out", options=options)
    assert found.observation_space == kept
    assert found.card["provenance"]["ignored"] == ignored
    one = ImportOptions(observation_space=spaces.Dict({"way": spaces.Discrete(4)}))
    found = import_dataset("own/text-v0", tmp_path / "one", options=one)
    assert found.card["provenance"]["ignored"] == sorted(["place", *ignored])


MULTIPLE = {
    "binary": (spaces.MultiBinary(3), np.eye(4, 3, dtype=np.int8), [2, 2, 2]),
    "dict": (
        spaces.Dict({"a": spaces.Discrete(3, start=1), "b": spaces.Discrete(2)}),
        {"a": np.arange(4) % 3 + 1, "b": np.arange(4) % 2},
        [3, 2],
    ),
    "tuple": (
        spaces.Tuple([spaces.Discrete(3), spaces.MultiBinary(2)]),
        (np.arange(4) % 3, np.eye(4, 2, dtype=np.int8)),
        [3, 2, 2],
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", MULTIPLE)
def test_minari_with_actions_of_several_parts(tmp_path, monkeypatch, kind):
    """They are what the wrapper of an environment with such actions takes."""
    from rate.spaces import separate

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    space, actions, counts = MULTIPLE[kind]
    recorded("own/parts-v0", spaces.Box(0, 9, (2,)), np.zeros((5, 2), "f4"), space, actions)
    found = import_dataset("own/parts-v0", tmp_path / "out")
    assert found.action_space == spaces.MultiDiscrete(counts)
    taken = minari.load_dataset("own/parts-v0")[0].actions
    for step, action in enumerate(found.episode(0).actions):
        value = separate(space, action)
        assert value in space
        parts = taken.items() if isinstance(taken, dict) else enumerate(taken)
        for key, part in parts if kind != "binary" else [(..., taken)]:
            assert np.array_equal(value[key], part[step])
    options = ImportOptions(action_space=spaces.MultiDiscrete([n + 1 for n in counts]))
    wider = import_dataset("own/parts-v0", tmp_path / "wider", options=options)
    assert (wider.arrays["actions"][:] == found.arrays["actions"][:]).all()
