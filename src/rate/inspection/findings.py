"""The parts of an inspection: attention maps, memory over time, probes for the cue, and noise."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

import numpy as np

from rate.acting.actor import Actor
from rate.acting.corruption import Corrupted, Corruption
from rate.acting.rollout import outcomes, rollout
from rate.inspection import figures
from rate.inspection.attention_maps import attention_maps
from rate.inspection.figures import Points
from rate.inspection.probe import Estimate, decode, estimate, principal_components
from rate.inspection.recorder import Traced, as_segment
from rate.inspection.separation import EPISODES, TRANSITIONS, separation
from rate.models.policy import Policy
from rate.system.progress import Advance, progress_bar
from rate.tasks.task import Task

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
"""Shares of noise that are mixed into memory."""
MOST_STEPS = 16
"""Most segment borders of an episode that are inspected."""
NUM_ENVS = 100
"""Most environments that are stepped together."""
FEWEST_EPISODES = 10
"""Fewest episodes that must not have ended at a step where the cue is decoded."""


@dataclass
class Findings:
    """Results of an inspection."""

    pictures: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    """PNG and caption of every figure, by file name."""
    table: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Rows of the report's table: quantity, value, interval, episodes."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """Values behind the figures, as JSON."""
    notes: list[str] = field(default_factory=list)
    """What is missing, and why."""


class Inspection:
    """The inspection of one policy in one task.

    Args:
        policy: The policy.
        task: The task to act in.
        seeds: Seeds of the episodes.
        show_progress: Whether to show progress bars.
    """

    def __init__(
        self, policy: Policy, task: Task, seeds: range, show_progress: bool = False
    ) -> None:
        self.policy, self.task, self.seeds, self.show = policy, task, seeds, show_progress
        self.target_return = 0.0 if task.target_return is None else task.target_return
        self.parts = policy.backbone.memory_parts()
        self.cues = [int(task.cue(seed)) for seed in seeds] if task.cue else None
        self.chance = task.reference.get("chance")
        self.bar: Advance = lambda count: None
        self.results = Findings()

    def findings(self) -> Findings:
        """All results, in the order of the report."""
        steps_played = -(-len(self.seeds) // NUM_ENVS) * self.task.horizon
        with progress_bar(f"act in {self.task.name}", steps_played, show=self.show) as self.bar:
            self.untouched, self.lengths = self._score(
                Actor(self.policy, self.target_return, check=False)
            )
        self.results.table.append(_row(self.task.metric, self.untouched))
        self.results.numbers["untouched"] = asdict(self.untouched)
        self._map_attention()
        config = self.policy.config
        running = int(np.sort(self.lengths)[-min(FEWEST_EPISODES, len(self.lengths))])
        steps = _spaced([0, *range(config.first_segment, running, config.stride)])
        if not self.parts:
            self.results.notes.append(
                "This model carries nothing from segment to segment: there is no memory to inspect."
            )
        elif len(steps) < 2:
            self.results.notes.append(
                f"Too few episodes are longer than one segment of {config.first_segment} steps, so "
                "no memory is carried: inspect a longer task."
            )
        else:
            rollouts = 1 + len(self.parts) * (len(steps) + len(STRENGTHS))
            title = f"inspect memory in {self.task.name}"
            with progress_bar(title, rollouts * steps_played, show=self.show) as self.bar:
                self._trace(steps)
                self._corrupt(steps)
        self._separate()
        return self.results

    def _score(self, agent: Actor) -> tuple[Estimate, np.ndarray]:
        """Score and lengths [episodes] of an agent's episodes."""
        results = list(outcomes(agent, self.task, self.seeds, num_envs=NUM_ENVS, progress=self.bar))
        scores = np.array(
            [self.task.score(result.total_return, result.length) for result in results]
        )
        return estimate(scores), np.array([result.length for result in results])

    # Attention
    # --------------------------------------------------------------------------------

    def _map_attention(self) -> None:
        seed = self.seeds[int(self.lengths.argmax())]
        agent = Actor(self.policy, self.target_return, check=False)
        [episode] = rollout(agent, self.task, [seed])
        config, steps = self.policy.config, as_segment(episode, self.target_return)
        segments = steps.split(config.stride, config.first_segment)
        maps = attention_maps(self.policy, segments)
        if not maps:
            self.results.notes.append("There are no attention maps of this kind of model.")
            return
        chosen = [maps[0], *maps[1:-1][:1], *maps[1:][-1:]]
        frame = (
            "Orange frame: the position that outputs the segment's last action. Grey: masked. "
            "Letters: m memory token, R return-to-go, o observation, a action, · cached state of "
            "earlier segments."
        )
        caption = (
            f"Attention in the episode of seed {seed} ({len(episode)} steps), mean over layers "
            f"and heads: {len(chosen)} of {len(maps)} segments. Rows attend to columns. {frame}"
        )
        self.results.pictures["inspect-attention.png"] = (figures.attention(chosen), caption)
        png, caption = figures.attention_heads(maps[-1]), "The last segment by layer and head."
        self.results.pictures["inspect-attention-heads.png"] = (png, caption)

    # Memory
    # --------------------------------------------------------------------------------

    def _trace(self, steps: Sequence[int]) -> None:
        agent = Traced(self.policy, self.target_return, self.parts, steps)
        self._score(agent)
        # Rows are recorded beyond the end of their episodes, which are left out here.
        alive = {
            seed: [step for step in steps if step < length]
            for seed, length in zip(self.seeds, self.lengths, strict=True)
        }
        self._trajectories(agent, alive, steps)
        if self.cues is None:
            self.results.notes.append(
                "This task names no cue: nothing is coloured by it or decoded from memory."
            )
            return
        points = {part: self._decoded(agent, part, alive, steps) for part in self.parts}
        points = {part: own for part, own in points.items() if own}
        if not points:
            self.results.notes.append(
                "There are too few episodes to decode the cue from memory: ask for more."
            )
            return
        for part, own in points.items():
            step, reached = own[-1]
            self.results.table.append(_row(f"cue decoded from {part} at step {step:g}", reached))
        self.results.numbers["decoding"] = _numbers(points, "step")
        caption = (
            "Accuracy of a linear classifier (ridge regression) of the cue of held-out episodes, "
            "from the memory with which the segment at a step begins; 5-fold cross-validation over "
            "episodes, 95 % Wilson intervals."
        )
        self.results.pictures["inspect-decoding.png"] = (figures.decoding(points), caption)

    def _trajectories(
        self, agent: Traced, alive: dict[int, list[int]], steps: Sequence[int]
    ) -> None:
        part = next(iter(self.parts))
        memories = [agent.kept[part, seed, step] for seed, own in alive.items() for step in own]
        projections, shares = principal_components(np.stack(memories))
        ends = np.cumsum([len(own) for own in alive.values()])
        paths = np.split(projections, ends[:-1])
        variance = [float(share) for share in shares]
        self.results.numbers["components"] = {"part": part, "variance": variance}
        caption = (
            f"The {part} carried from segment to segment in {len(paths)} episodes, projected on "
            "two principal components; one line per episode, with a dot at its end."
        )
        caption += " Colours are cues." if self.cues else ""
        png = figures.trajectories(paths, steps, variance, self.cues)
        self.results.pictures["inspect-trajectories.png"] = (png, caption)

    def _decoded(
        self, agent: Traced, part: str, alive: dict[int, list[int]], steps: Sequence[int]
    ) -> Points:
        assert self.cues is not None
        points = []
        for step in steps:
            here = [
                (seed, cue)
                for seed, cue in zip(self.seeds, self.cues, strict=True)
                if step in alive[seed]
            ]
            features = np.stack([agent.kept[part, seed, step] for seed, _ in here])
            decoded = decode(features, np.array([cue for _, cue in here]))
            if decoded is not None:
                points.append((float(step), decoded))
        return points

    def _separate(self) -> None:
        found = separation(self.policy, self.task, self.target_return)
        self.results.numbers["separation"] = found
        if found:
            first, last = f"{found[0]:.2f}", f"{found[-1]:.2f}"
            what = "memory between cues (RMS difference), after the first segment"
            self.results.table.append((what, first, "—", str(EPISODES)))
            what = f"the same after {TRANSITIONS} more transitions"
            self.results.table.append((what, last, "—", str(EPISODES)))

    # Noise
    # --------------------------------------------------------------------------------

    def _corrupt(self, steps: Sequence[int]) -> None:
        by_step: dict[str, Points] = {}
        by_strength: dict[str, Points] = {}
        for part in self.parts:
            what = cast(Literal["memory", "cache"], part)
            by_step[part] = [
                (step, self._noisy(Corruption(what, step=step, until=step + 1))) for step in steps
            ]
            stronger = [
                (strength, self._noisy(Corruption(what, strength))) for strength in STRENGTHS
            ]
            by_strength[part] = [(0.0, self.untouched), *stronger]
            self.results.table.append(
                _row(f"{self.task.metric} with noise for {part}", by_strength[part][-1][1])
            )
        self.results.numbers["noise_by_step"] = _numbers(by_step, "step")
        self.results.numbers["noise_by_strength"] = _numbers(by_strength, "strength")
        caption = (
            "Left: memory is replaced by white noise of unit variance at the start of the one "
            "segment that begins at a step. Right: memory is mixed with noise at the start of "
            "every segment. 95 % intervals over episodes."
        )
        png = figures.corruption(
            by_step,
            by_strength,
            metric=self.task.metric,
            untouched=self.untouched,
            chance=self.chance,
        )
        self.results.pictures["inspect-noise.png"] = (png, caption)

    def _noisy(self, corruption: Corruption) -> Estimate:
        return self._score(Corrupted(self.policy, self.target_return, corruption))[0]


def _spaced(steps: Sequence[int]) -> list[int]:
    """At most MOST_STEPS of the steps, evenly spread, the first and last among them."""
    places = np.unique(
        np.linspace(0, len(steps) - 1, min(len(steps), MOST_STEPS)).round().astype(int)
    )
    return [steps[place] for place in places]


def _row(what: str, result: Estimate) -> tuple[str, str, str, str]:
    low, high = result.interval
    return what, f"{result.value:.2f}", f"{low:.2f} to {high:.2f}", str(result.episodes)


def _numbers(points: dict[str, Points], axis: str) -> dict[str, list[dict[str, Any]]]:
    return {
        part: [{axis: place, **asdict(result)} for place, result in own]
        for part, own in points.items()
    }
