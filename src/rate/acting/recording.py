"""Recording: a video of a run's policy, or of a task's expert, at play."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from rate.acting.evaluation import check_spaces
from rate.acting.film import Filming
from rate.acting.frame import Frames
from rate.acting.rollout import Outcome
from rate.acting.video import require_video, video
from rate.acting.watched import Watched
from rate.addresses import require_trusted
from rate.dataset import open_dataset
from rate.runs.checkpoint import load_policy
from rate.runs.folder import Run
from rate.system.compute import Compute, with_changes
from rate.system.progress import progress_bar
from rate.tasks.gym.options import Options, addresses, join
from rate.tasks.lookup import find
from rate.tasks.task import Task
from rate.values import Checked, FirstSeed, Positive, Range, checks_arguments


@dataclass(frozen=True)
class RecordingConfig(Checked):
    """Which episodes are filmed, and how."""

    episodes: Positive = 1
    """Episodes, one after the other in the same video."""
    first_seed: FirstSeed = 0
    """Seed of the first episode."""
    checkpoint: Literal["last", "best"] = "last"
    """The last checkpoint, or the best by validation."""
    sample: bool = False
    """Draw actions in place of taking the most likely ones."""
    target_return: float | None = None
    """Return that is asked for; by default the task's own, else the checkpoint's."""
    every: Positive = 1
    """Steps from one frame to the next."""
    frames_per_second: Annotated[float, Range(0.1, 60)] = 15.0
    """How fast the video is shown."""


@checks_arguments
def record(
    run: str | Path | None = None,
    task: str | None = None,
    *,
    output: str | Path,
    recording: RecordingConfig = RecordingConfig(),
    compute: Compute = Compute(),
    trust: bool = False,
    show_progress: bool = False,
    **changes: Any,
) -> list[Outcome]:
    """Record a video of a run's policy at play: the task's picture, and beside it step, return,
    what the environment reports (health, say), and the policy's memory.

    Where an environment renders nothing, its observations are drawn. The episode of a seed is the
    one that `evaluate` scores.

    Args:
        run: Run folder; without one the task's expert plays.
        task: Name of a task, such as tmaze/90; by default the one that the run's data is from.
        output: The video, which ends in .mp4 or .webp; an older one is replaced.
        recording: Which episodes are filmed, and how.
        compute: Where to compute.
        trust: Also run the code that the run's files name: its task, a model or an encoder of your
            own. A task that is given is code of yours.
        show_progress: Show a progress bar.
        **changes: Fields of `recording` and `compute` by name, such as `episodes=3`.

    Returns:
        Seed, return and length of each episode.

    Raises:
        ValueError: There is no such task or checkpoint, the task has other spaces than the policy
            or no expert, or the video's name has another ending.
        ModuleNotFoundError: The encoder (the extra `film`), or the task's simulator, is missing.
        OSError: The video cannot be written; this is tried before anything is played.
        TypeError: A change is no field of `recording` or `compute`.
    """
    recording, compute = with_changes(changes, recording, compute)
    require_video(output)
    compute.use_threads()
    filming, name = _filming(run, task, recording, compute, trust)
    frames, total = Frames(), recording.episodes * filming.task.horizon
    outcomes = []
    with (
        progress_bar(f"record {name} on {filming.task.name}", total, show=show_progress) as advance,
        video(output, recording.frames_per_second) as show,
    ):
        for seed in range(recording.first_seed, recording.first_seed + recording.episodes):
            title = f"{name} · {filming.task.name} · seed {seed}"
            every = recording.every
            outcomes.append(
                filming.play(seed, frames, show, title=title, every=every, progress=advance)
            )
    return outcomes


def own_task(run: Run, trust: bool) -> str:
    """The task that a run's data is from, by the run or else by the dataset's card.

    Raises:
        ValueError: Neither says so, or the task is code that is not trusted.
    """
    task, folders = run.provenance().get("task"), run.recipe(trust).folders
    origin = run.provenance_file
    if not task and all(Path(folder).is_dir() for folder in folders):
        data = open_dataset(folders, verify=False)
        task, origin = data.card["task"], data.path
    if not task:
        raise ValueError(
            f"{run} does not say which task its data is from: name the task to act in, such "
            "as tmaze/90"
        )
    require_trusted(addresses(str(task)), origin, trust)
    return str(task)


def _filming(
    run: str | Path | None,
    name: str | None,
    recording: RecordingConfig,
    compute: Compute,
    trust: bool,
) -> tuple[Filming, str]:
    """Who is filmed where, and who that is in words."""
    if run is None:
        if name is None:
            raise ValueError("there is nobody to film: give a run, or with --task a task's expert")
        return _expert(find(name)), "expert"
    folder = Run(run)
    task = find(name or own_task(folder, trust))
    policy, header = load_policy(folder.checkpoint(recording.checkpoint), trust=trust)
    check_spaces(task, policy)
    given = recording.target_return, task.target_return, header["target_return"]
    asked = float(next(one for one in given if one is not None))
    agent = Watched(policy.to(compute.device()), asked, recording.sample)
    conditioned = "return_to_go" in policy.tokens
    return Filming(agent, task, asked if conditioned else None), folder.name


def _expert(task: Task) -> Filming:
    if task.expert is None:
        raise ValueError(
            f"the task {task.name!r} has no expert to film: give a run, or name an expert, as in "
            f"{join(task.name, Options(expert='random'))}"
        )
    return Filming(task.expert(), task)
