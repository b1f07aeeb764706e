"""Cost of an acting step: far into an episode, and against recomputing the running segment."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import gymnasium
import numpy as np
import torch

from benchmarks.configurations import DEMO, RELEASED
from benchmarks.rows import Measurement
from rate.acting.actor import Actor
from rate.models.backbone import ModelConfig
from rate.models.policy import Policy
from rate.models.rate import Config
from rate.segment import Segment

LOWEST = np.array([-1, -1, 0, -1], np.float32)
POOL = 1009
"""Different observations that are shown over and over."""


def measure(quick: bool) -> Iterator[Measurement]:
    """All acting measurements, on one thread; `quick` stops at step 1,000 and measures the small
    sizes alone."""
    torch.set_num_threads(1)
    positions = [100, 1_000] if quick else [100, 1_000, 10_000, 100_000]
    for batch in (1, 100):
        yield from far_into_an_episode(DEMO.model, batch, positions)
    yield from checked(DEMO.model, 1)
    yield from checked(DEMO.model, 100)
    small, large = replace(DEMO.model, segment_length=50), RELEASED.model
    yield from against_recomputing("demo, K=50", small, 100)
    if not quick:
        yield from against_recomputing("released, K=50", large, 100)


def far_into_an_episode(
    config: Config, batch: int, positions: Sequence[int], segments: int = 10
) -> Iterator[Measurement]:
    """Mean milliseconds of a step from each position on, over whole segments, against the first
    segments of an episode.

    An actor that stands at the position and one that has just begun step by turns, so that whatever
    slows the machine down slows down both. At each step of the segment the median over the segments
    counts.
    """
    policy, observations, rewards = fresh_policy(config), pool(batch), np.zeros(batch, np.float32)
    length = config.segment_length
    old, young = Actor(policy, 1.0), Actor(policy, 1.0)
    old.reset(batch)
    step = 0
    for position in positions:
        while step < position // length * length:
            old.act(observations[step % POOL], rewards)
            step += 1
        young.reset(batch)
        for index in range(length):
            young.act(observations[index % POOL], rewards)
        seconds = np.empty((2, segments * length))
        for index in range(segments * length):
            # Who goes first alternates, too, and each place in the segment sees both orders.
            for actor in (0, 1) if (index + index // length) % 2 else (1, 0):
                observation = observations[(step + index) % POOL]
                seconds[actor, index] = timed(
                    partial((old, young)[actor].act, observation, rewards)
                )
        step += segments * length
        typical = np.median(seconds.reshape(2, segments, length), 1).mean(-1)
        yield Measurement(
            "acting",
            f"from step {position:,}",
            f"demo, batch {batch}",
            1e3 * float(typical[0]),
            "ms/step",
            float(typical[0] / typical[1]),
        )


def checked(config: Config, batch: int, turns: int = 60) -> Iterator[Measurement]:
    """Milliseconds of a step with checks of what is given and put out, against one without."""
    policy, observations, rewards = fresh_policy(config), pool(batch), np.zeros(batch, np.float32)
    actors = [Actor(policy, 1.0, check=check) for check in (True, False)]
    for actor in actors:
        actor.reset(batch)
    length = config.segment_length

    def segment(actor: Actor) -> None:
        for index in range(length):
            actor.act(observations[index], rewards)

    seconds = np.empty((2, turns))
    for turn in range(turns):
        for which in (0, 1) if turn % 2 else (1, 0):
            seconds[which, turn] = timed(partial(segment, actors[which])) / length
    typical = float(np.median(seconds[0]))
    ratio = float(np.median(seconds[0] / seconds[1]))
    yield Measurement("acting", "checked", f"demo, batch {batch}", 1e3 * typical, "ms/step", ratio)


def against_recomputing(
    name: str, config: Config, batch: int, repeats: int = 3
) -> Iterator[Measurement]:
    """Mean milliseconds of a step over a whole segment, by appending to the cache and by a forward
    pass of the segment so far."""
    policy, observations, rewards = fresh_policy(config), pool(batch), np.zeros(batch, np.float32)
    actor, length = Actor(policy, 1.0), config.segment_length
    actor.reset(batch)
    for index in range(length):
        actor.act(observations[index], rewards)
    segment = whole_segment(observations[:length])
    memory = policy.initial_memory(batch)

    def recompute(steps: int) -> None:
        with torch.inference_mode():
            outputs, _ = policy(segment.window(0, steps), memory, 0)
            policy.head.choose(outputs[:, -1].numpy(), None)

    recompute(1)
    seconds = np.empty((2, repeats, length))
    for repeat, index in np.ndindex(repeats, length):
        seconds[0, repeat, index] = timed(partial(actor.act, observations[index], rewards))
        seconds[1, repeat, index] = timed(partial(recompute, index + 1))
    cached, recomputed = np.median(seconds, 1).mean(-1).tolist()
    configuration = f"{name}, batch {batch}"
    yield Measurement("stepping", "recomputing", configuration, 1e3 * recomputed, "ms/step")
    yield Measurement(
        "stepping", "cached", configuration, 1e3 * cached, "ms/step", recomputed / cached
    )


def fresh_policy(config: ModelConfig) -> Policy:
    """An untrained policy for T-Maze's spaces."""
    torch.manual_seed(0)
    space = gymnasium.spaces.Box(LOWEST, np.ones(4, np.float32))
    return Policy(space, gymnasium.spaces.Discrete(4), config).eval()


def pool(batch: int) -> np.ndarray:
    """Random observations [POOL, batch, 4], whole numbers as in T-Maze."""
    numbers = np.random.default_rng(0).integers(-1, 2, (POOL, batch, 4)).astype(np.float32)
    return np.maximum(numbers, LOWEST)


def whole_segment(observations: np.ndarray) -> Segment:
    """Observations [K, B, 4] as a complete segment."""
    leaf = torch.from_numpy(observations).transpose(0, 1).contiguous()
    shape = leaf.shape[:2]
    return Segment(
        observations={"observation": leaf},
        actions=torch.zeros(shape, dtype=torch.int64),
        rewards=torch.zeros(shape),
        returns_to_go=torch.ones(shape),
        terminations=torch.zeros(shape, dtype=torch.bool),
        timesteps=torch.arange(shape[1]).expand(shape),
        mask=torch.ones(shape, dtype=torch.bool),
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time that `work` takes; on one thread other processes do not count."""
    started = time.process_time()
    work()
    return time.process_time() - started
