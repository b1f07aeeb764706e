"""ViZDoom-Two-Colors: what was published about the scenario, and an engine that leaves nothing
behind."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import gymnasium
import numpy as np
import pytest

pytest.importorskip("vizdoom")

import psutil

from rate.acting.rollout import outcomes
from rate.tasks.lookup import find
from rate.tasks.vizdoom import TwoColors, is_red
from rate.tasks.vizdoom.engine import Engine, EngineError
from rate.tasks.vizdoom.expert import plans
from rate.tasks.vizdoom.scenario import CENTRE, Rules, scenario

RED_SEEDS = (
    "2 3 6 8 9 10 11 14-18 20 21 25-29 31 38 40-42 45 46 49-55 58-61 63 64 67 68 70 72-74 77 80 "
    "82 84 86 88-92 97-101 103 106 108 109 113 115-117 120 123-129 133 134 136 139 140 142 144 145 "
    "147 148 151-154 156-159 161 164 165 170 171 173"
)
GREEN_SEEDS = (
    "0 1 4 5 7 12 13 19 22-24 30 32-37 39 43 44 47 48 56 57 62 65 66 69 71 75 76 78 79 81 83 85 87 "
    "93-96 102 104 105 107 110-112 114 118 119 121 122 130-132 135 137 138 141 143 146 149 150 155 "
    "160 162 163 166-169 172 175-177 182 183 187 190 192 193 195 199 204 206 208-210 212 215 216 "
    "218-221 223-225"
)
"""The seeds of the published evaluation, by the colour of their pillar."""

LIMIT = 2100


def numbers(text):
    ranges = [[int(number) for number in part.split("-")] for part in text.split()]
    return [seed for span in ranges for seed in range(span[0], span[-1] + 1)]


@pytest.fixture
def environment():
    environment = TwoColors(LIMIT, render_mode="rgb_array")
    yield environment
    environment.close()


def play(environment, seed, choose):
    """Return, length, and the health before each decision."""
    environment.reset(seed=seed)
    total, health, ended = 0.0, [], False
    while not ended:
        _, reward, terminated, truncated, info = environment.step(choose())
        total, ended = total + reward, terminated or truncated
        health.append(info["health"])
    return total, health


def test_the_published_seeds_have_their_colours():
    red, green = numbers(RED_SEEDS), numbers(GREEN_SEEDS)
    assert len(red) == len(green) == 100
    assert [is_red(seed) for seed in red] == [1] * 100
    assert [is_red(seed) for seed in green] == [0] * 100
    group = find("vizdoom-two-colors/90").group
    assert [group(seed) for seed in (2, 0)] == ["red", "green"]


def test_who_turns_on_the_spot_lives_192_decisions(environment):
    for seed in (0, 2):
        total, health = play(environment, seed, lambda: 0)
        assert len(health) == 192
        assert total == pytest.approx(3.84)
        assert health[:16] == [92] * 15 + [84]


def test_random_actions_score_what_was_published(environment):
    """4.74 ± 0.16 over 100 episodes; ours must agree within both errors."""
    generator = np.random.default_rng(0)
    returns = [
        play(environment, seed, lambda: int(generator.integers(5)))[0] for seed in range(100)
    ]
    error = np.hypot(np.std(returns) / 10, 0.16)
    assert abs(np.mean(returns) - 4.74) < 2.5 * error


@pytest.mark.parametrize(("tics", "decisions"), [(90, 45), (45, 23), (10, 5)])
def test_the_pillar_disappears_in_time(tics, decisions):
    engine = Engine(Rules(pillar_tics=tics))
    state = engine.begin(3)
    seen = 0
    while any("Pillar" in thing.name for thing in state.things):
        pillar = next(thing for thing in state.things if "Pillar" in thing.name)
        assert (pillar.position_x, pillar.position_y) == CENTRE
        assert pillar.name == "RedPillar"
        seen, state = seen + 1, engine.act(0)
    engine.close()
    assert seen == decisions


def test_without_a_pillar_the_episode_of_a_seed_is_the_same():
    engines = [Engine(Rules(pillar=shown)) for shown in (True, False)]
    with_pillar, without = (
        sorted(
            (thing.name, thing.position_x, thing.position_y)
            for thing in engine.begin(7).things
            if "Item" in thing.name
        )
        for engine in engines
    )
    for engine in engines:
        engine.close()
    assert with_pillar == without
    assert len(without) == 20


def test_frames_show_pillar_items_and_room(environment):
    hues = {}
    for seed in (0, 2):
        environment.reset(seed=seed)
        for action in (0, 1) * 6:
            observation = environment.step(action)[0]
        assert observation.shape == (3, 64, 112)
        middle = observation[:, 20:40, 50:62].astype(int)
        hues[seed] = (middle[0] - middle[1]).max(), (middle[1] - middle[0]).max()
        assert environment.render().shape == (144, 256, 3)
    assert hues[0][1] > 60 > 20 > hues[0][0], "green pillar"
    assert hues[2][0] > 150, "red pillar"


@pytest.mark.parametrize(("damage", "costs"), [("released", {13, 17}), ("paper", {25})])
def test_wrong_items_cost_what_the_rules_say(damage, costs):
    """Losses that no acid explains, of agents that walk about; some pick up two items at once."""
    engine = Engine(Rules(damage=damage, acid=0))
    generator, found = np.random.default_rng(0), set()
    for seed in range(25):
        state = engine.begin(seed)
        health = state.health
        for step in range(150):
            state = engine.act(int(generator.integers(5)) if step % 40 < 8 else 2)
            if state is None:
                break
            found.add(health - state.health)
            health = state.health
    engine.close()
    losses = {loss for loss in found if loss > 0}
    assert costs <= losses <= costs | {one + other for one in costs for other in costs}


def test_the_same_seed_is_the_same_episode_in_any_order(environment):
    def frames(seed):
        first, _ = environment.reset(seed=seed)
        return [first] + [environment.step(action)[0] for action in (2, 2, 2, 3, 3, 0, 2, 2)]

    one, other, again = frames(5), frames(6), frames(5)
    assert all(np.array_equal(*pair) for pair in zip(one, again, strict=True))
    assert not all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def test_the_motion_that_the_expert_expects_is_the_engine_s():
    engine = Engine(Rules(pillar=False, acid=0))
    engine.begin(1)
    for _ in range(4):  # the agent cannot move at once
        state = engine.act(0)
    for _ in range(8):
        state = engine.act(1)
    ways = plans(-6)
    index = next(
        index for index in np.flatnonzero(ways.actions == 2) if ways.paths[index, 0, 1] == 0
    )
    x, y, angle = state.pose
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for expected in ways.paths[index][:20] @ turn:
        state = engine.act(2)
        np.testing.assert_allclose(np.array(state.pose[:2]) - (x, y), expected, atol=1.5)
    engine.close()


@pytest.mark.slow
def test_the_expert_lives_long_by_the_right_items():
    task = find(f"vizdoom-two-colors/{LIMIT}")
    returns = [played.total_return for played in outcomes(task.expert(), task, range(24))]
    assert np.mean(returns) > 56.5, "OracleDT of the paper"


@pytest.mark.slow
def test_the_expert_that_errs_earns_what_the_data_of_the_paper_does():
    task = find("vizdoom-two-colors/90,expert=data")
    returns = [played.total_return for played in outcomes(task.expert(), task, range(120))]
    assert np.mean(returns) == pytest.approx(4.46, abs=0.2)


def leftovers():
    """Processes, temporary folders and shared memory of engines."""
    folders = Path(tempfile.gettempdir()).glob("rate-vizdoom-*")
    memory = list(Path("/dev/shm").glob("ViZDoom*")) if Path("/dev/shm").is_dir() else []
    children = [child.pid for child in psutil.Process().children()]
    return len(children), set(folders), set(memory)


def test_resets_and_closes_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = leftovers()
    for _ in range(3):
        environment = TwoColors(10)
        for seed in range(34):
            environment.reset(seed=seed)
        environment.step(0)
        environment.close()
    assert leftovers() == before
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals")
@pytest.mark.parametrize(
    ("number", "message"), [("SIGKILL", "died"), ("SIGSTOP", "did not answer")]
)
def test_an_engine_that_dies_or_hangs_is_a_clear_error_and_others_go_on(number, message):
    before = leftovers()
    engine, other = Engine(Rules(), patience=1), Engine(Rules())
    engine.begin(0)
    os.kill(engine.process_id, getattr(signal, number))
    with pytest.raises(EngineError, match=message):
        [engine.act(0) for _ in range(3)]
    other.begin(0)
    assert other.act(2) is not None
    other.close()
    assert leftovers() == before


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_engines_of_a_process_that_was_killed_end_when_the_next_one_starts():
    before = leftovers()
    code = "from rate.tasks.vizdoom.engine import *; one = Engine(Rules()); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert leftovers() != before
    Engine(Rules()).close()
    assert leftovers() == before


def test_options_are_part_of_the_name():
    name = "vizdoom-two-colors/30,environment.pillar=false,environment.damage=paper"
    task = find(name)
    assert task.name == name
    environment = task.environment()
    assert environment.rules == Rules(pillar=False, damage="paper")
    environment.close()
    with pytest.raises(ValueError, match="pillar, pillar_tics, damage, acid"):
        find("vizdoom-two-colors/30,environment.colour=red")
    with pytest.raises(ValueError, match="damage is 'half', allowed: released, paper"):
        find("vizdoom-two-colors/30,environment.damage=half")


def test_gymnasium_makes_it_by_its_id():
    made = gymnasium.make("rate.tasks.vizdoom:rate/ViZDoomTwoColors-v0", limit=3)
    made.reset(seed=0)
    ends = [made.step(0)[2:4] for _ in range(3)]
    made.close()
    assert ends == [(False, False), (False, False), (False, True)]


def test_the_scenario_is_made_by_us_alone_and_always_the_same():
    assert scenario(Rules()) == scenario(Rules())
    assert scenario(Rules()) != scenario(Rules(acid=10))
    assert len(scenario(Rules())) < 60_000
