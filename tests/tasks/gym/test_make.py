"""Environments by address: every space end to end, every way to reset, and what is refused."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import rate
from rate.acting.rollout import outcomes, rollout
from rate.cli import main
from rate.episode import Episode
from rate.spaces import leaves
from rate.storage.files import read_jsonl
from rate.tasks.lookup import find
from tests.tasks import outside

HERE = "tests.tasks.outside:"


@pytest.fixture(autouse=True)
def _root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])


def episodes(name: str, count: int = 7, num_envs: int = 100, first: int = 5) -> list[Episode]:
    task = find(f"{name},expert=random")
    assert task.expert is not None
    return list(rollout(task.expert(), task, range(first, first + count), num_envs=num_envs))


def require_equal(some: list[Episode], others: list[Episode]) -> None:
    assert len(some) == len(others)
    for first, second in zip(some, others, strict=True):
        assert first.seed == second.seed
        for name in ("actions", "rewards", "terminations", "truncations"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert first.observations.keys() == second.observations.keys()
        for path, leaf in first.observations.items():
            np.testing.assert_array_equal(leaf, second.observations[path])


KINDS = [(observations, "discrete") for observations in outside.OBSERVATIONS]
KINDS += [("vector", actions) for actions in outside.ACTIONS if actions != "discrete"]


@pytest.mark.parametrize(("observations", "actions"), KINDS)
def test_every_space_is_collected_trained_on_and_evaluated(observations, actions, tiny, tmp_path):
    name = f"{HERE}make,environment.observations={observations},environment.actions={actions}"
    data = rate.collect(f"{name},expert=random", tmp_path / "data", episodes=12)
    assert data.observation_space == outside.OBSERVATIONS[observations]
    run = rate.train(
        tiny(dataset=str(tmp_path / "data"), updates=2),
        tmp_path / "run",
        threads=1,
        accelerator="cpu",
    )
    [row] = rate.evaluate(run, [name], episodes=5)
    assert (row["task"], row["metric"], row["x"]) == (name, "return", None)
    assert len(row["scores"]) == 5
    # What was asked for is the best return in the data, because the environment names none.
    assert rate.load_agent(run).target_return == data.returns.max()


def test_a_registered_id_is_collected_trained_on_and_evaluated(tiny, tmp_path):
    name = "gym:CartPole-v1,horizon=20,environment.sutton_barto_reward=true"
    data = rate.collect(f"{name},expert=random", tmp_path / "data", episodes=12)
    assert data.card["task"] == f"{name},expert=random"
    assert data.lengths.max() <= 20
    assert set(data.returns) <= {0.0, -1.0}
    recipe = tiny(dataset=str(tmp_path / "data"), updates=2)
    run = rate.train(recipe, tmp_path / "run", threads=1, accelerator="cpu")
    shorter = f"{name},metric=success".replace("20", "10") + ",environment.render_mode=null"
    rows = rate.evaluate(run, [f"{name},metric=success", shorter], episodes=5)
    assert [(row["metric"], row["value"], row["x"]) for row in rows] == [("success", 0.0, None)] * 2
    assert "sutton" in rate.report(run).with_name("report.md").read_text()


def test_an_argument_of_the_environment_is_the_axis_of_the_figure(tiny, tmp_path):
    rate.collect(f"{HERE}make,expert=random", tmp_path / "data", episodes=12)
    recipe = tiny(dataset=str(tmp_path / "data"), updates=2)
    run = rate.train(recipe, tmp_path / "run", threads=1, accelerator="cpu")
    rows = rate.evaluate(
        run, [f"{HERE}make,environment.longest={longest}" for longest in (4, 8)], episodes=5
    )
    rows += rate.evaluate(run, [f"{HERE}make", f"{HERE}make,horizon=3"], episodes=5)
    assert [row["x"] for row in rows] == [4, 8, None, None]
    report = rate.report(run).with_name("report.md").read_text()
    assert "![Return against task size" in report
    assert all(row["task"].replace("_", "\\_") in report for row in rows)


def test_the_horizon_is_the_one_asked_for_or_the_time_limit():
    assert find("gym:CartPole-v1").horizon == 500
    assert find("gym:CartPole-v1,horizon=700").horizon == 700
    longer = find("gym:CartPole-v1,horizon=700").environment()
    assert longer.get_wrapper_attr("_max_episode_steps") == 700
    assert find(f"{HERE}make").horizon == 50
    assert find(f"{HERE}endless,horizon=4").horizon == 4
    assert {len(episode.rewards) for episode in episodes(f"{HERE}endless,horizon=4", 20)} == {
        2,
        3,
        4,
    }


def test_a_package_is_imported_before_its_id_is_looked_up(tmp_path, monkeypatch):
    text = (
        "import gymnasium\n"
        "gymnasium.register('Drawn-v0', entry_point='tests.tasks.outside:Drawn', "
        "max_episode_steps=9)\n"
    )
    (tmp_path / "mazes_of_mine.py").write_text(text)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    assert find("gym:mazes_of_mine:Drawn-v0").horizon == 9


def test_a_class_is_an_address_and_so_is_a_file_in_the_current_folder(tmp_path, monkeypatch):
    assert find(f"{HERE}Drawn,horizon=4").observation_space == outside.OBSERVATIONS["vector"]
    (tmp_path / "envs_of_mine.py").write_text("from tests.tasks.outside import make as maker\n")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    assert find("envs_of_mine:maker").horizon == 50


@pytest.mark.parametrize("num_envs", [1, 2, 100])
@pytest.mark.parametrize("observations", ["vector", "dict"])
def test_the_k_th_seed_is_the_k_th_episode(num_envs, observations):
    name = f"{HERE}make,environment.observations={observations}"
    require_equal(episodes(name, num_envs=num_envs), episodes(name))
    require_equal(episodes(name)[3:], episodes(name, count=4, first=8))


@pytest.mark.parametrize("num_envs", [2, 3, 7])
@pytest.mark.parametrize("observations", ["vector", "dict"])
@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_vector_environment_plays_the_episodes_of_a_single_one_however_it_resets(
    mode, observations, num_envs
):
    arguments = f"environment.observations={observations}"
    name = f"{HERE}side_by_side,environment.mode={mode},{arguments},horizon=50"
    single = f"{HERE}make,{arguments}"
    require_equal(episodes(name, num_envs=num_envs), episodes(single))


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_a_vector_environment_of_processes_plays_the_same_episodes(mode):
    require_equal(
        episodes(f"{HERE}in_processes,environment.mode={mode},horizon=50", count=3),
        episodes(f"{HERE}make", 3),
    )


def test_a_vector_environment_can_be_played_alone():
    environment = find(f"{HERE}side_by_side,horizon=50").environment()
    single = outside.make()
    np.testing.assert_array_equal(environment.reset(seed=3)[0], single.reset(seed=3)[0])
    for _ in range(2):
        (given, *rest), (expected, *others) = environment.step(1), single.step(1)
        np.testing.assert_array_equal(given, expected)
        assert rest == others
    environment.close()


def test_a_wrapper_that_resets_by_itself_changes_nothing():
    require_equal(episodes(f"{HERE}resetting"), episodes(f"{HERE}make"))


def test_any_task_takes_a_random_expert_and_one_by_address():
    recall = find("recall/6,expert=random")
    assert recall.expert is not None
    first, again = (
        list(rollout(recall.expert(), recall, range(20), num_envs=many)) for many in (3, 20)
    )
    require_equal(first, again)
    assert len(np.unique(np.concatenate([episode.actions for episode in first]))) > 1
    constant = find(f"recall/6,expert={HERE}AlwaysFirst")
    assert constant.expert is not None
    assert {
        int(action) for e in rollout(constant.expert(), constant, range(3)) for action in e.actions
    } == {1}


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("gym:CartPol-v1", ValueError, "CartPol.*Did you mean: `CartPole`"),
        (
            "gym:CartPole-v1,environment.foo=3",
            ValueError,
            "cannot be made with {'foo': 3}: TypeError",
        ),
        ("gym:Blackjack-v1", ValueError, "no time limit.*gym:Blackjack-v1,horizon=200"),
        (
            "gym:no_such_package:Maze-v0",
            ModuleNotFoundError,
            "no module 'no_such_package', neither installed nor in",
        ),
        ("no_such_module:make", ModuleNotFoundError, "run the command in the folder that holds it"),
        (f"{HERE}maker", ValueError, "there is no 'maker' in tests.tasks.outside; it has .*make, "),
        (
            f"{HERE}OBSERVATIONS",
            ValueError,
            "a function or class that makes an environment is needed",
        ),
        (
            f"{HERE}no_environment,horizon=3",
            ValueError,
            "made builtins.dict, which is no environment of Gymnasium 1",
        ),
        (
            f"{HERE}learning",
            ValueError,
            "NormalizeObservation.*set its update_running_mean to False",
        ),
        (f"{HERE}worded", ValueError, "mix choices and numbers.*write a wrapper"),
        (f"{HERE}unseeded,horizon=9,expert=random", ValueError, "one seed per row"),
        (f"{HERE}silent,horizon=9", ValueError, "autoreset_mode None.*AutoresetMode.NEXT_STEP"),
        (
            "os.path:join",
            ValueError,
            "os.path:join cannot be made: TypeError: .*missing 1 required",
        ),
        ("os:sep", ValueError, "a function or class that makes an environment is needed"),
        ("my maze:make", ValueError, "addresses look like package.module:name"),
        (
            "gym:NoSuchMaze-v0",
            ValueError,
            "name that too, so that it is imported first: gym:<package>:NoSuchMaze-v0",
        ),
        ("CartPole-v1", ValueError, "Did you mean 'gym:CartPole-v1'"),
        (f"{HERE}wordy,horizon=3,environment.kept=nothing", ValueError, "Text.* is not supp"),
        (
            f"{HERE}Faulty,horizon=9,environment.fault=make",
            ValueError,
            "RuntimeError: no display .*outside.py, line",
        ),
        (
            f"recall/6,expert={HERE}Confused",
            ValueError,
            "Confused failed in act: ValueError: .*outside.py, line",
        ),
        (
            "recall/6,expert=greedy",
            ValueError,
            "no expert 'greedy': give 'random', or 'module:Class'",
        ),
        (
            f"recall/6,expert={HERE}make",
            ValueError,
            "is not a class of agents .it has no reset and no act",
        ),
        ("recall/6,environment.size=3", ValueError, "there are none"),
        ("recall/6,size=3", ValueError, "no option 'size'.*did you mean environment.size"),
        ("recall/6,horizon=0", ValueError, "horizon is 0, but it must be a whole number"),
        ("recall/6,horizon=3,horizon=4", ValueError, "gives horizon twice"),
        ("recall/6,metric=joy", ValueError, "one of success, return"),
        ("recall/6,target_return=much", ValueError, "'much', but it must be a finite number"),
    ],
)
def test_what_cannot_be_played_says_why_and_what_to_do(name, error, message):
    def play() -> None:
        task = find(name)
        assert task.observation_space is not None
        list(rollout(task.expert(), task, range(2)))  # type: ignore[misc]

    with pytest.raises(error, match=message):
        play()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "raises",
            r"step 2 of the episode of seed 7: KeyError: 'left' \(.*outside.py, line \d+, in "
            r"step\)",
        ),
        ("four", "step 2 .*: step returned 4 values, but must return five"),
        ("reset", r"in reset\(seed=7\): .*reset must return two values"),
        (
            "observation",
            "step 2 of the episode of seed 7: observations: 1 of 3 numbers are NaN",
        ),
        ("reward", "step 2 of the episode of seed 7: .*the reward is nan"),
    ],
)
def test_a_fault_of_an_environment_is_told_with_seed_step_and_place(fault, message):
    task = find(f"{HERE}Faulty,horizon=9,expert=random,environment.fault={fault}")
    for play in (rollout, outcomes):  # with recorded steps, and without
        with pytest.raises(ValueError, match=f"Faulty.* failed .*{message}"):
            list(play(task.expert(), task, [7, 8]))  # type: ignore[misc]


def test_an_action_that_is_no_choice_is_refused_and_not_cut_to_one(tmp_path):
    with pytest.raises(
        ValueError, match=r"actions: dtype is float64, the space Discrete.* needs int64"
    ):
        rate.collect(
            f"{HERE}Trusting,horizon=9,expert={HERE}Undecided", tmp_path / "data", episodes=2
        )


def test_a_warning_on_the_command_line_is_one_line_without_code(tmp_path, capfd):
    task = f"{HERE}Forgetful,horizon=9,expert=random"
    assert main(["collect", task, "--episodes", "2", "--output", str(tmp_path / "data")]) == 0
    lines = [
        line for line in capfd.readouterr().err.splitlines() if "two different episodes" in line
    ]
    assert len(lines) == 1
    assert lines[0].startswith("rate: warning: tests.tasks.outside:Forgetful")


def test_a_task_without_an_expert_says_how_to_name_one(tmp_path):
    with pytest.raises(ValueError, match=r"name one, as in gym:CartPole-v1,expert=random"):
        rate.collect("gym:CartPole-v1", tmp_path / "data", episodes=2)


def test_an_environment_that_a_seed_does_not_determine_is_warned_about(tmp_path):
    with pytest.warns(UserWarning, match="the same seed and actions gave two different episodes"):
        rate.collect(f"{HERE}Forgetful,horizon=9,expert=random", tmp_path / "data", episodes=2)


def test_addresses_are_listed_and_printed_as_they_are(capsys):
    assert main(["list", "tasks"]) == 0
    printed = capsys.readouterr().out
    assert "gym:<id>" in printed
    assert "<module>:<function>" in printed
    assert "\N{PACKAGE}" not in printed  # what :package: could be taken for
    assert main(["collect", "gym:package:Id-v0", "--output", "nowhere"]) == 2
    assert "gym:package:Id-v0" in capsys.readouterr().err


def test_the_command_line_adds_options_to_the_name(tmp_path, capsys):
    folder = str(tmp_path / "data")
    options = [
        "--expert",
        "random",
        "--horizon",
        "5",
        "--environment",
        "observations=tuple",
        "longest=4",
    ]
    assert main(["collect", f"{HERE}make", "--output", folder, "--episodes", "12", *options]) == 0
    name = (
        f"{HERE}make,horizon=5,expert=random,environment.observations=tuple,environment.longest=4"
    )
    assert rate.open_dataset(folder).card["task"] == name
    run = tmp_path / "run"
    small = [
        "--model.segment-length",
        "3",
        "--model.width",
        "8",
        "--updates",
        "2",
        "--threads",
        "1",
    ]
    assert main(["train", "mlp", "--dataset", folder, "--run", str(run), *small]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"rate evaluate {run} --tasks {name.replace(',expert=random', '')}, then" in said
    tasks = [
        "--tasks",
        f"{HERE}make,environment.longest=3",
        "--horizon",
        "5",
        "--environment",
        "observations=tuple",
    ]
    assert main(["evaluate", str(run), *tasks, "--episodes", "3", "--threads", "1"]) == 0
    [row] = read_jsonl(run / "scores.jsonl")
    assert (
        row["task"] == f"{HERE}make,horizon=5,environment.longest=3,environment.observations=tuple"
    )


def test_a_random_expert_of_a_seed_is_that_of_the_seed_alone():
    space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    agent, other = rate.tasks.gym.make.RandomAgent(space), rate.tasks.gym.make.RandomAgent(space)
    agent.reset(3, [4, 5, 6])
    other.reset(1, [6])
    for _ in range(3):
        np.testing.assert_array_equal(
            agent.act(None, np.zeros(3))[2:], other.act(None, np.zeros(1))
        )


@pytest.mark.parametrize("kept", ["dict", "tuple", "nested", "others", "empty"])
@pytest.mark.parametrize("mode", [None, "SameStep", "NextStep", "Disabled"])
def test_observations_that_no_array_holds_are_left_out_with_a_word(kept, mode):
    made = f"wordy_rows,environment.mode={mode}" if mode else "wordy"
    name = f"{HERE}{made},horizon=3,environment.kept={kept},expert=random"
    with pytest.warns(UserWarning, match="observation .* is left out: .*(supported|holds 1 to)"):
        task = find(name)
    assert task.expert is not None
    [episode] = rollout(task.expert(), task, [3])
    [path] = leaves(task.observation_space)
    assert path == {"dict": "speed", "tuple": "1", "nested": "a/1"}.get(kept, "speed")
    seen = episode.observations[path]
    assert seen.shape[1:] == (3,)
    assert len(np.unique(seen, axis=0)) == len(episode.rewards) + 1
