"""Films of episodes that were scored: the best, the typical and the worst of a run."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rate.acting.actor import Actor
from rate.acting.film import Filming
from rate.acting.frame import Frames, Strip
from rate.acting.rollout import Outcome
from rate.acting.video import require_videos, video
from rate.acting.watched import Watched
from rate.acting.workers import Acting
from rate.addresses import require_trusted
from rate.runs.checkpoint import load_policy
from rate.runs.films import Film, file_name, read_films, write_films
from rate.runs.folder import Run
from rate.storage.files import atomic_write
from rate.system.progress import progress_bar
from rate.tasks.gym.options import addresses
from rate.tasks.lookup import find

MOST_FRAMES, SECONDS = 300, 12.0
"""Frames of a film of an episode that was scored, at most, and how long it is to last, if there are
enough of them."""
LONGEST = 1500
"""Most steps of episodes that are filmed for a report."""


@dataclass(frozen=True)
class Chosen:
    """An episode that was scored and is to be filmed."""

    which: str
    """Best, typical or worst."""
    seed: int
    """Its seed."""
    score: float
    """Its score."""
    steps: float
    """Its length, or the mean length of the episodes where that is not known."""


def film_chosen(
    filming: Filming,
    folder: Path,
    chosen: Sequence[Chosen],
    episodes: int,
    name: str,
    show_progress: bool = False,
) -> list[Film]:
    """Film episodes that were scored, anew by their seeds, and list them in the folder's
    films.json. Films of other tasks stay there, older ones of this task do not.

    A film has about MOST_FRAMES frames at most; longer episodes are shown in larger steps.

    Args:
        filming: Who played, and where.
        folder: Where the films go.
        chosen: The episodes.
        episodes: How many were scored.
        name: Who that is in words.
        show_progress: Show a progress bar.
    """
    task, films = filming.task, []
    with progress_bar(f"film {name} on {task.name}", len(chosen), show=show_progress) as advance:
        for one in chosen:
            every = math.ceil((one.steps + 1) / MOST_FRAMES)
            speed = min(30.0, max(2.0, one.steps / every / SECONDS))
            files = [file_name(task.name, one.which, ending=end) for end in (".mp4", ".webp")]
            title, strip = f"{name} · {task.name} · {one.which}, seed {one.seed}", Strip()
            with video(folder / files[0], speed) as show:
                outcome = filming.play(
                    one.seed, Frames(), show, title=title, every=every, strip=strip
                )
            picture = io.BytesIO()
            strip.image().save(picture, "WEBP", quality=82)
            atomic_write(folder / files[1], picture.getvalue())
            films.append(
                Film(
                    file=files[0],
                    strip=files[1],
                    task=task.name,
                    which=one.which,
                    episodes=episodes,
                    seed=one.seed,
                    score=one.score,
                    metric=task.metric,
                    total_return=outcome.total_return,
                    length=outcome.length,
                )
            )
            advance(1)
    earlier = read_films(folder)
    write_films(folder, [*(film for film in earlier if film.task != task.name), *films])
    kept = {name for film in films for name in (film.file, film.strip)}
    for film in earlier:
        for name in {film.file, film.strip} - kept if film.task == task.name else ():
            (folder / name).unlink(missing_ok=True)
    return films


def filming_of(acting: Acting) -> Filming:
    """A policy that was scored, in front of a camera."""
    agent = acting.agent()
    asked = agent.target_return if "return_to_go" in agent.policy.tokens else None
    if type(agent) is Actor:  # what corrupts memory does not show it
        agent = Watched(agent.policy, agent.target_return, agent.sample, agent.restart_return)
    return Filming(agent, find(acting.task), asked, acting.stepping)


def film(
    acting: Acting, folder: Path, outcomes: Sequence[Outcome], name: str, show_progress: bool
) -> list[Film]:
    """Film the best, the typical and the worst of the episodes that a policy was scored by."""
    filming = filming_of(acting)
    scores = [filming.task.score(outcome.total_return, outcome.length) for outcome in outcomes]
    chosen = [
        Chosen(which, outcomes[number].seed, scores[number], outcomes[number].length)
        for which, number in extremes(scores).items()
    ]
    return film_chosen(filming, folder, chosen, len(outcomes), name, show_progress)


def film_run(run: Run, show_progress: bool = False) -> list[Film]:
    """Film a run by its scores, where that can be done here and has not been done: the task of the
    longest episodes of at most LONGEST steps.

    Returns:
        The films; none where there are some already, or no scores, or where the simulator or the
        encoder is missing, the run names code of its own, or its files are damaged.
    """
    try:
        plain = ("greedy", "sampled")  # without a temperature
        rows = [row for row in run.scores() if row.get("actions", "greedy") in plain]
        rows = [row for row in rows if not row.get("corruption")]
        if not rows or read_films(run.films_folder):
            return []
        lengths = [row["steps"] / row["episodes"] for row in rows]
        fitting = [length for length in lengths if length <= LONGEST] or [min(lengths)]
        row = rows[len(lengths) - 1 - lengths[::-1].index(max(fitting))]
        require_trusted(addresses(row["task"]), run.scores_file, trusted=False)
        load_policy(run.checkpoint(row["checkpoint"]))
        require_videos(run.films_folder)
        sample = row.get("actions") == "sampled"
        checkpoint, asked = run.checkpoint(row["checkpoint"]), row.get("target_return")
        restart = bool(row.get("restart_return"))
        filming = filming_of(Acting(checkpoint, row["task"], asked, sample, restart))
        first, scores = row.get("first_seed", 0), [float(score) for score in row["scores"]]
        chosen = [
            Chosen(which, first + number, scores[number], max(fitting))
            for which, number in extremes(scores).items()
        ]
        return film_chosen(filming, run.films_folder, chosen, len(scores), run.name, show_progress)
    except (ValueError, OSError, ImportError, KeyError, TypeError, ArithmeticError):
        return []


def extremes(scores: Sequence[float]) -> dict[str, int]:
    """Numbers of the best, the typical and the worst of some episodes, the first of equal ones.

    The typical one has the median score (the lower of two). The best and the worst are left out
    where their score is that of the typical one.

    Args:
        scores: One for each episode.
    """
    ordered = sorted(scores)
    chosen = {"best": ordered[-1], "typical": ordered[(len(ordered) - 1) // 2], "worst": ordered[0]}
    return {
        name: list(scores).index(score)
        for name, score in chosen.items()
        if name == "typical" or score != chosen["typical"]
    }
