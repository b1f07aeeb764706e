"""Names and conversions that all formats share: every spelling, in every container."""

import pickle
import warnings

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from rate.cli import main
from rate.dataset import DatasetError, open_dataset
from rate.dataset.importers import ImportOptions, import_dataset
from rate.dataset.importers._roles import SPELLINGS, place, resembles

EPISODES, STEPS = 10, 4
COUNT = EPISODES * STEPS
LAST = np.arange(COUNT) % STEPS == STEPS - 1
FIRST = np.roll(LAST, 1)
ODD = np.arange(COUNT) // STEPS % 2 == 1
RNG = np.random.default_rng(0)
BASE = {
    "observations": RNG.normal(size=(COUNT, 3)).astype(np.float32),
    "actions": RNG.integers(0, 3, COUNT),
    "rewards": RNG.normal(size=COUNT),
}


def npz(path, arrays):
    np.savez(path.with_suffix(".npz"), **arrays)
    return path.with_suffix(".npz")


def npy(path, arrays):
    for name, array in arrays.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(path / f"{name}.npy", array)
    return path


def hdf5(path, arrays):
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        for name, array in arrays.items():
            text = np.asarray(array).dtype.kind == "U"
            file[name] = np.asarray(array, object) if text else array
    return path.with_suffix(".h5")


def pickled(path, arrays):
    plain = {
        name: np.asarray(array).tolist() if np.asarray(array).dtype.kind == "U" else array
        for name, array in arrays.items()
    }
    path.with_suffix(".pkl").write_bytes(pickle.dumps(plain))
    return path.with_suffix(".pkl")


def pickled_lists(path, arrays):
    return pickled(path, {name: np.asarray(array).tolist() for name, array in arrays.items()})


CONTAINERS = {"npz": npz, "npy": npy, "hdf5": hdf5, "pickle": pickled, "lists": pickled_lists}


def imported(tmp_path, arrays, container="npz", **options):
    path = CONTAINERS[container](tmp_path / "data", arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return import_dataset(path, tmp_path / "out", options=ImportOptions(**options))


def ends(dataset):
    """Whether each episode was terminated, and truncated."""
    last = dataset.arrays["episode_offsets"][1:] - 1
    return [np.asarray(dataset.arrays[name])[last] for name in ("terminations", "truncations")]


MARKS = {
    **dict.fromkeys(("terminated", "terminals", "Terminal", "terminations", "is_terminal"), LAST),
    **dict.fromkeys(("done", "dones", "Done", "game_over", "done_buf"), LAST),
}
CUTS = {
    **dict.fromkeys(
        ("truncated", "truncations", "timeout", "timeouts", "TimeLimit.truncated"), LAST
    ),
    **dict.fromkeys(("episode_terminals", "episode_ends", "is_last", "isLast", "last_step"), LAST),
    "is_first": FIRST,
    "meta/episode_ends": np.arange(STEPS, COUNT + 1, STEPS),
    "episode_end": np.arange(STEPS - 1, COUNT, STEPS),
    "episode_start": np.arange(0, COUNT, STEPS),
    "episode_index": np.arange(COUNT) // STEPS,
    "episode_lengths": np.full(EPISODES, STEPS),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", [*MARKS, *CUTS])
def test_every_mark_of_an_end_is_understood_in_every_container(tmp_path, name, container):
    found = imported(tmp_path, {**BASE, name: {**MARKS, **CUTS}[name]}, container)
    assert found.lengths.tolist() == [STEPS] * EPISODES
    terminated, truncated = ends(found)
    if name in ("is_first",):  # nothing says that the recording was complete
        terminated, truncated = terminated[:-1], truncated[:-1]
    assert (terminated == (name in MARKS)).all()
    assert (truncated == (name in CUTS)).all()
    assert found.card["provenance"]["ignored"] == []


@pytest.mark.parametrize(
    ("marks", "terminated", "truncated"),
    [
        ({"terminated": LAST & ODD, "truncated": LAST & ~ODD}, ODD, ~ODD),
        ({"terminals": LAST & ODD, "episode_terminals": LAST}, ODD, ~ODD),  # d3rlpy 1
        ({"terminals": LAST & ODD, "dones": LAST}, ODD, ~ODD),
        ({"dones": LAST, "timeouts": LAST & ~ODD}, ODD, ~ODD),  # Stable-Baselines3
        ({"terminals": LAST, "timeouts": LAST & ODD}, LAST, ODD),  # both, as it says so
        ({"masks": ~(LAST & ODD), "dones_float": LAST}, ODD, ~ODD),  # jaxrl
        ({"not_done": ~(LAST & ODD), "timeout": LAST & ~ODD}, ODD, ~ODD),
        ({"is_first": FIRST, "terminal": LAST}, LAST, ~LAST),
    ],
)
def test_marks_that_overlap(tmp_path, capsys, marks, terminated, truncated):
    found = imported(tmp_path, {**BASE, **marks})
    assert found.lengths.tolist() == [STEPS] * EPISODES
    assert [list(one) for one in ends(found)] == [list(terminated[LAST]), list(truncated[LAST])]
    main(["data", "info", str(tmp_path / "out")])
    assert "0% cut" in capsys.readouterr().out


@pytest.mark.parametrize("role", ["observations", "next_observations", "actions", "rewards"])
def test_every_spelling_of_what_is_recorded(tmp_path, role):
    arrays = {**BASE, "next_observations": BASE["observations"] + 1, "timeouts": LAST}
    for number, name in enumerate([*SPELLINGS[role].split(), f"data/{role}", role.title()]):
        given = {name if key == role else key: array for key, array in arrays.items()}
        path = npz(tmp_path / str(number), given)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # next observations are not those that follow
            found = import_dataset(path, tmp_path / f"out{number}").episode(1)
        assert (found.observations["observation"][-1] == BASE["observations"][7] + 1).all(), name
        assert (found.actions == BASE["actions"][4:8]).all(), name
        assert found.rewards.tolist() == BASE["rewards"][4:8].astype(np.float32).tolist(), name


@pytest.mark.parametrize(
    ("name", "role", "leaf"),
    [
        ("nextObs", "next_observations", ""),
        ("obs_next", "next_observations", ""),
        ("next/observation", "next_observations", ""),
        ("observation.images.top", "observations", "images/top"),
        ("data/obs/camera", "observations", "camera"),
        ("next.reward", "rewards", ""),
        ("rew_buf", "rewards", ""),
    ],
)
def test_names_of_several_words(name, role, leaf):
    found = place(name)
    assert (found.role, found.leaf) == (role, leaf)


@pytest.mark.parametrize("name", ["infos/terminal", "metadata/obs", "discrete_action", "qpos"])
def test_what_is_none_of_them(name):
    assert place(name) is None
    assert not resembles(name)


FLAGS = {
    "bool": LAST,
    "float": LAST.astype(float),
    "big-endian": LAST.astype(">f8"),
    "int8": LAST.astype(np.int8),
    "column": LAST[:, None],
    "words": np.where(LAST, "True", "False"),
    "lower": np.where(LAST, "true", "false"),
    "digits": np.where(LAST, "1", "0"),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", FLAGS)
def test_flags_are_booleans_numbers_or_text(tmp_path, kind, container):
    found = imported(tmp_path, {**BASE, "terminations": FLAGS[kind]}, container)
    assert found.lengths.tolist() == [STEPS] * EPISODES
    assert ends(found)[0].all()


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("terminals", bad) for bad in (np.nan, -1, 2, "maybe", "")),
        *(("truncated", 0.5), ("done", np.inf), ("done", "nan"), ("is_last", -1), ("masks", "x")),
    ],
)
def test_what_is_no_flag_is_refused(tmp_path, name, bad, container):
    flags = np.where(LAST, "True", "False").astype(object) if isinstance(bad, str) else LAST * 1.0
    flags[5] = bad
    flags = flags.astype(str) if isinstance(bad, str) else flags
    with pytest.raises(DatasetError, match=f"{name}: .* is no flag; give booleans"):
        imported(tmp_path, {**BASE, name: flags}, container)


ACTIONS = {
    "as they are": BASE["actions"],
    "column": BASE["actions"][:, None],
    "one-hot": np.eye(3)[BASE["actions"]],
    "one-hot whole": np.eye(3, dtype=np.int64)[BASE["actions"]],
    "whole floats": BASE["actions"].astype(np.float32),
    "column of floats": BASE["actions"][:, None].astype(np.float64),
    "big-endian": BASE["actions"].astype(">i4"),
    "bytes": BASE["actions"].astype(np.uint8),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", ACTIONS)
def test_actions_become_choices_where_the_space_says_so(tmp_path, kind, container):
    arrays = {**BASE, "actions": ACTIONS[kind], "timeouts": LAST}
    found = imported(tmp_path, arrays, container, action_space=spaces.Discrete(3))
    assert found.action_space == spaces.Discrete(3)
    assert (found.arrays["actions"][:] == BASE["actions"]).all()


@pytest.mark.parametrize("actions", [BASE["actions"] + 0.5, np.eye(4)[BASE["actions"]] * 2])
def test_actions_that_are_no_choices_are_refused(tmp_path, actions):
    with pytest.raises(DatasetError, match="actions"):
        imported(
            tmp_path,
            {**BASE, "actions": actions, "timeouts": LAST},
            action_space=spaces.Discrete(4),
        )


@pytest.mark.parametrize("container", CONTAINERS)
def test_columns_and_big_endian_numbers(tmp_path, container):
    arrays = {
        "observations": BASE["observations"].astype(">f8"),
        "actions": BASE["actions"][:, None],
        "rewards": BASE["rewards"][:, None].astype(">f4"),
        "timeouts": LAST[:, None],
    }
    found = imported(tmp_path, arrays, container)
    assert found.action_space == spaces.Discrete(3)
    assert (found.episode(2).observations["observation"][:-1] == BASE["observations"][8:12]).all()


MULTIPLE = {
    "MultiBinary": (spaces.MultiBinary(2), {"actions": np.eye(2)[BASE["actions"] % 2]}),
    "Dict": (
        spaces.Dict({"a": spaces.Discrete(3), "b": spaces.MultiBinary(1)}),
        {"actions/a": BASE["actions"], "actions/b": BASE["actions"][:, None] % 2},
    ),
    "Tuple": (
        spaces.Tuple([spaces.Discrete(3), spaces.Discrete(2)]),
        {"actions/0": BASE["actions"].astype(float), "actions/1": BASE["actions"] % 2},
    ),
    "boxes": (
        spaces.Dict({"a": spaces.Box(0, 2), "b": spaces.Box(0, 1)}),
        {"actions/a": BASE["actions"] * 1.0, "actions/b": BASE["actions"] % 2 * 1.0},
    ),
}


@pytest.mark.parametrize("container", ["npz", "npy", "hdf5", "pickle"])
@pytest.mark.parametrize("kind", MULTIPLE)
def test_actions_of_several_parts_become_one_array(tmp_path, kind, container):
    space, actions = MULTIPLE[kind]
    arrays = {**BASE, **actions, "timeouts": LAST}
    if "actions" not in actions:
        del arrays["actions"]
    found = imported(tmp_path, arrays, container, action_space=space)
    if kind == "boxes":
        assert found.action_space == spaces.Box(np.zeros(2, "f4"), np.array([2, 1], "f4"))
    else:
        counts = [2, 2] if kind == "MultiBinary" else [3, 2]
        assert found.action_space == spaces.MultiDiscrete(counts)
    if kind != "MultiBinary":
        assert (found.arrays["actions"][:, 0] == BASE["actions"]).all()
    assert (found.arrays["actions"][:, 1] == BASE["actions"] % 2).all()


def after(array):
    """Each episode with one observation more."""
    rows = array.reshape(EPISODES, STEPS, 3)
    return np.concatenate([rows, rows[:, :1] + 100], 1)


FINALS = {
    "next": {"next_observations": BASE["observations"].copy(), "done": LAST},
    "a further one of each episode": {
        "observations": after(BASE["observations"]).reshape(-1, 3),
        "done": LAST,
    },
    "padded": {
        "observations": after(BASE["observations"]),
        "actions": BASE["actions"].reshape(EPISODES, STEPS),
        "rewards": BASE["rewards"].reshape(EPISODES, STEPS, 1),
        "terminated": LAST.reshape(EPISODES, STEPS),
    },
}
FINALS["next"]["next_observations"] = after(BASE["observations"])[:, 1:].reshape(-1, 3)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("form", FINALS)
def test_final_observations_in_either_form(tmp_path, form, container):
    found = imported(tmp_path, {**BASE, **FINALS[form]}, container)
    assert found.lengths.tolist() == [STEPS] * EPISODES
    for index in (0, 3, 9):
        seen = found.episode(index).observations["observation"]
        assert (seen == after(BASE["observations"])[index]).all()
    assert found.card["provenance"]["final_observation"] == "recorded"


def test_the_last_step_of_rlds_holds_the_final_observation_only(tmp_path):
    arrays = {name: np.where(LAST, 0, BASE[name]) for name in ("actions", "rewards")}
    arrays |= {"observations": BASE["observations"], "is_first": FIRST, "is_last": LAST}
    found = imported(tmp_path, {**arrays, "is_terminal": LAST & ODD})
    assert found.lengths.tolist() == [STEPS - 1] * EPISODES
    assert (found.episode(1).observations["observation"] == BASE["observations"][4:8]).all()
    assert found.card["provenance"]["final_observation"] == "recorded"
    assert (ends(found)[0] == ODD[LAST]).all()


# What is not known is asked, and what is left out is said


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("marks", [{}, {"terminals": LAST & False}, {"boundary": LAST}])
def test_steps_without_a_mark_of_an_end_are_a_question(tmp_path, container, marks):
    path = CONTAINERS[container](tmp_path / "data", {**BASE, **marks})
    with pytest.raises(DatasetError, match=r"nothing marks the end.*--episode-ends") as caught:
        import_dataset(path, tmp_path / "out")
    assert all(name in str(caught.value) for name in marks)
    found = import_dataset(path, tmp_path / "a", options=ImportOptions(episode_ends="none"))
    assert found.lengths.tolist() == [COUNT]
    if "boundary" in marks:
        options = ["--output", str(tmp_path / "b"), "--episode-ends", "boundary"]
        assert main(["data", "import", str(path), *options]) == 0
        assert open_dataset(tmp_path / "b").lengths.tolist() == [STEPS] * EPISODES


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("episode_boundary", "a mark of ends"),
        ("was_reset", "a mark of ends"),
        ("camera_rgb", "an observation"),
        ("states", "an observation"),
    ],
)
def test_what_looks_like_an_end_or_an_observation_is_not_dropped_in_silence(
    tmp_path, capsys, container, name, kind
):
    arrays = {**BASE, "timeouts": LAST, name: LAST, "qpos": LAST}
    path = CONTAINERS[container](tmp_path / "data", arrays)
    with pytest.warns(UserWarning, match=f"{name} is not used, and looks like {kind}"):
        found = import_dataset(path, tmp_path / "out")
    assert found.card["provenance"]["ignored"] == sorted([name, "qpos"])
    main(["data", "validate", str(tmp_path / "out")])
    assert f"{name} is not used" in " ".join(capsys.readouterr().out.split())


def test_next_observations_show_where_ends_are_missing(tmp_path):
    arrays = {**BASE, **FINALS["next"], "done": LAST & ODD}
    with pytest.warns(UserWarning, match="5 steps inside episodes are not followed"):
        import_dataset(npz(tmp_path / "data", arrays), tmp_path / "out")


def test_leaves_that_cannot_be_held_are_left_out(tmp_path):
    arrays = {name: array for name, array in BASE.items() if name != "observations"}
    arrays |= {
        "observations/place": BASE["observations"],
        "observations/mission": np.array(["go"] * COUNT),
        "observations/none": np.zeros((COUNT, 0)),
        "timeouts": LAST,
    }
    with pytest.warns(UserWarning, match="observations/mission holds"):
        found = import_dataset(npz(tmp_path / "data", arrays), tmp_path / "out")
    assert list(found.observation_leaves) == ["place"]
    assert found.card["provenance"]["ignored"] == ["observations/mission", "observations/none"]
    options = ImportOptions(observation_space=spaces.Dict({"other": spaces.Box(0, 1)}))
    with pytest.raises(DatasetError, match="observations have the leaves"):
        import_dataset(tmp_path / "data.npz", tmp_path / "again", options=options)
