"""Augmented random search of linear policies (Mania et al. 2018, version V2-t), in NumPy alone.

    python -m rate.tasks.mujoco.search Hopper --minutes 4 --output hopper.json

A linear policy has a weight for each pair of action and observation. Every iteration tries random
changes of all weights, each with both signs, and moves along the best of them in proportion to the
difference of their returns. Observations are normalised by statistics of all those seen so far,
which is then made part of weights and bias. What the search visits on its way are behaviour
policies of every quality, from falling over at once to the best.
"""

import argparse
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from rate.tasks.mujoco.linear import Linear, environment_id, write_policies

EVALUATION_SEED = 10_000_000
"""First seed of episodes that give a policy its numbers."""


@dataclass(frozen=True)
class Settings:
    """Numbers of a search."""

    directions: int
    """Random changes of an iteration, each of them tried with both signs."""
    best: int
    """Changes that the policy moves along, those with the highest returns."""
    step: float
    """Step size, as a fraction of the spread of the returns."""
    noise: float
    """Standard deviation of the changes."""
    alive: float = 0.0
    """Reward of every step for not having fallen, which the search does not count."""


SETTINGS = {
    "HalfCheetah": Settings(8, 4, 0.02, 0.03),
    "Hopper": Settings(8, 4, 0.01, 0.025, alive=1.0),
    "Walker2d": Settings(12, 6, 0.02, 0.03, alive=1.0),
}
"""Settings by environment."""


@dataclass
class Normaliser:
    """Running mean and standard deviation of observations."""

    size: int
    """Numbers of an observation."""
    count: float = 0.0
    """Observations seen."""
    mean: np.ndarray = field(init=False)
    """Their mean, [size]."""
    squares: np.ndarray = field(init=False)
    """Their summed squared distances from the mean, [size]."""

    def __post_init__(self) -> None:
        self.mean, self.squares = np.zeros(self.size), np.zeros(self.size)

    def add(self, observations: np.ndarray) -> None:
        """Count observations [n, size] in."""
        count, mean = len(observations), observations.mean(0)
        total, difference = self.count + count, mean - self.mean
        self.squares += ((observations - mean) ** 2).sum(0)
        self.squares += difference**2 * self.count * count / total
        self.mean = self.mean + difference * count / total
        self.count = total

    def linear(self, weights: np.ndarray) -> Linear:
        """The policy that multiplies normalised observations by `weights` [actions, size]."""
        deviation = np.sqrt(self.squares / max(1.0, self.count))
        deviation[deviation < 1e-7] = np.inf  # what never changes says nothing
        scaled = weights / deviation
        return Linear(scaled, -scaled @ self.mean)


def play(
    environment: gymnasium.Env[Any, Any], policy: Linear, seed: int
) -> tuple[float, np.ndarray]:
    """The return of an episode, and its observations [steps, size]."""
    space = environment.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    low, high = space.low, space.high
    observation, _ = environment.reset(seed=seed)
    total, seen, over = 0.0, [], False
    while not over:
        seen.append(observation)
        action = policy.weights @ observation + policy.bias
        observation, reward, terminated, truncated, _ = environment.step(action.clip(low, high))
        total += float(reward)
        over = terminated or truncated
    return total, np.array(seen)


def search(
    environment: gymnasium.Env[Any, Any], settings: Settings, seed: int
) -> Iterator[tuple[Linear, int]]:
    """The policy after each iteration, and the steps that have been taken until then."""
    space, generator = environment.observation_space, np.random.default_rng(seed)
    size, actions = (int(np.prod(one.shape or ())) for one in (space, environment.action_space))
    weights = np.zeros((actions, size))
    normaliser, steps = Normaliser(size), 0
    while True:
        changes = generator.standard_normal((settings.directions, *weights.shape))
        returns = np.zeros((settings.directions, 2))
        episodes = []
        for number, change in enumerate(changes):
            for column, sign in enumerate((1, -1)):
                policy = normaliser.linear(weights + sign * settings.noise * change)
                total, seen = play(environment, policy, int(generator.integers(2**31)))
                returns[number, column] = total - settings.alive * len(seen)
                episodes.append(seen)
        for seen in episodes:
            normaliser.add(seen)
            steps += len(seen)
        kept = np.argsort(-returns.max(1))[: settings.best]
        spread = returns[kept].std() + 1e-6
        differences = returns[kept, 0] - returns[kept, 1]
        move = np.einsum("n,nas->as", differences, changes[kept])
        weights = weights + settings.step / (settings.best * spread) * move
        yield normaliser.linear(weights), steps


def measured(environment: gymnasium.Env[Any, Any], policy: Linear, episodes: int) -> Linear:
    """The policy, its numbers rounded to six digits, with its returns over some episodes."""
    policy = policy.rounded()
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + episodes)
    played = [play(environment, policy, seed) for seed in seeds]
    returns, lengths = np.array([one for one, _ in played]), [len(seen) for _, seen in played]
    mean, deviation = round(float(returns.mean()), 1), round(float(returns.std()), 1)
    return replace(
        policy, mean_return=mean, standard_deviation=deviation, length=float(np.mean(lengths))
    )


def random_return(environment: gymnasium.Env[Any, Any], episodes: int) -> float:
    """The mean return of actions that are drawn uniformly."""
    space, total = environment.action_space, 0.0
    space.seed(EVALUATION_SEED)
    for seed in range(EVALUATION_SEED, EVALUATION_SEED + episodes):
        environment.reset(seed=seed)
        over = False
        while not over:
            _, reward, terminated, truncated, _ = environment.step(space.sample())
            total += float(reward)
            over = terminated or truncated
    return round(total / episodes, 1)


def spaced(policies: Sequence[Linear], count: int) -> list[Linear]:
    """At most `count` policies whose returns are spread evenly between the worst and the best."""
    by_return = sorted(policies, key=lambda policy: policy.mean_return)
    marks = np.linspace(by_return[0].mean_return, by_return[-1].mean_return, count)
    nearest = [min(by_return, key=lambda one: abs(one.mean_return - mark)) for mark in marks]
    return [one for number, one in enumerate(nearest) if one not in nearest[:number]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, and write policies of the whole way as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("environment", help="such as Hopper")
    parser.add_argument("--minutes", type=float, default=4.0, help="processor time of the search")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two policies")
    parser.add_argument("--policies", type=int, default=9, help="most policies that are kept")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    settings = SETTINGS.get(options.environment, Settings(8, 4, 0.02, 0.03))
    environment = gymnasium.make(environment_id(options.environment), disable_env_checker=True)
    begun, next_one, way = time.process_time(), 0.0, []
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends the search; what there is is kept
        for policy, steps in search(environment, settings, options.seed):
            spent = time.process_time() - begun
            if spent >= next_one:
                way.append(replace(measured(environment, policy, 5), steps=steps))
                next_one = spent + options.every
            if spent >= 60 * options.minutes:
                break
    kept = [
        replace(measured(environment, policy, 20), steps=policy.steps)
        for policy in spaced(way, options.policies)
    ]
    facts = {
        "environment": environment_id(options.environment),
        "search": {**asdict(settings), "seed": options.seed, "minutes": options.minutes},
        "random_return": random_return(environment, 100),
    }
    write_policies(options.output, facts, kept)


if __name__ == "__main__":
    main()
