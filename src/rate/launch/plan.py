"""A plan: runs as data, one job a line, with the jobs whose results each one needs.

The first line of the file names the format and the command that wrote it. Every other line is a
job: a verb of this library and its options. Relative paths are seen from the folder of the plan,
and what a job writes lies inside that folder, so a plan moves with it.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from rate.addresses import require_trusted
from rate.messages import brief, reason
from rate.recipe import Recipe
from rate.recipe import addresses as of_recipe
from rate.storage.files import atomic_write, read_jsonl
from rate.storage.untrusted import inside
from rate.tasks.gym.options import addresses as of_task
from rate.training.devices import TrainingCompute
from rate.values import checked

FORMAT, FORMAT_VERSION = "rate-plan", 1
LARGEST = 2**28
"""Bytes of a plan that are read at most."""

Verb = Literal["collect", "train", "evaluate", "report"]


class PlanError(ValueError):
    """A plan cannot be read or written, or jobs of it have failed."""


@dataclass(frozen=True)
class Job:
    """A call of one verb."""

    name: str
    """Its name, of which each plan has one; the name of a file."""
    verb: Verb
    """What is done."""
    options: Mapping[str, Any]
    """Options of the verb, as JSON data."""
    needs: tuple[str, ...] = ()
    """Names of jobs that must be done before."""

    def addresses(self) -> list[str]:
        """Addresses of code outside this library that it names."""
        options = self.options
        found = of_task(str(options.get("task", "")))
        if isinstance(options.get("recipe"), dict):
            found += of_recipe(options["recipe"])
        for score in options.get("scores", ()):
            found += of_task(str(score.get("task", "")) if isinstance(score, dict) else "")
        names = options.get("experiments", ())
        return found + [name for name in map(str, names) if name.endswith(".py")]


@dataclass(frozen=True)
class Plan:
    """Jobs in an order in which they can be done one after another."""

    path: Path
    """The file."""
    jobs: tuple[Job, ...] = field(default=(), repr=False)
    """The jobs; each comes behind those that it needs."""
    command: str = ""
    """The command that the plan stands for."""

    @property
    def folder(self) -> Path:
        """Where relative paths are seen from."""
        return self.path.parent

    @property
    def claims(self) -> Path:
        """Folder of the files that say who works on which job."""
        return self.path.with_name(f"{self.path.stem}.claims")

    @property
    def logs(self) -> Path:
        """Folder of what launchers write: submissions and output of their jobs."""
        return self.path.with_name(f"{self.path.stem}.logs")

    def require_trusted(self, trusted: bool) -> None:
        """Refuse code that the plan names, unless it is trusted or the user has named it, too.

        Raises:
            UntrustedError: It names code that is not trusted.
        """
        found = [address for job in self.jobs for address in job.addresses()]
        require_trusted(found, self.path, trusted)

    def inner(self, name: str) -> Path:
        """The path of what a job writes; a PlanError unless it lies in the folder of the plan."""
        parts = [] if name == "." else str(name).split("/")
        return inside(self.folder, *parts, error=PlanError)

    def outer(self, name: str) -> str:
        """The path of what a job reads, which may lie anywhere."""
        return os.path.normpath(self.folder / name)

    def named(self, path: str | os.PathLike[str]) -> str:
        """The path of what a job reads, as the plan writes it: an absolute one as it is."""
        return os.fspath(path) if os.path.isabs(path) else self._relative(path)

    def output(self, path: str | os.PathLike[str]) -> str:
        """The path of what a job writes, as the plan writes it.

        Raises:
            PlanError: It does not lie in the folder of the plan.
        """
        relative = self._relative(path)
        if relative.startswith(".."):
            raise PlanError(
                f"{os.fspath(path)} does not lie in {self.folder}, the folder of the plan "
                f"{self.path}: choose a plan in a folder above what is written, such as "
                f"{Path(path).parent / self.path.name}"
            )
        return relative

    def _relative(self, path: str | os.PathLike[str]) -> str:
        there = os.path.relpath(os.path.abspath(path), os.path.abspath(self.folder))
        return Path(there).as_posix()


def training_jobs(
    plan: Plan,
    recipe: Recipe,
    runs: Mapping[int, str | os.PathLike[str]],
    *,
    compute: TrainingCompute = TrainingCompute(),
    loggers: Sequence[str] = (),
    needs: Iterable[str] = (),
) -> list[Job]:
    """Jobs that train the same recipe with several seeds.

    Args:
        plan: Where the jobs belong.
        recipe: What is trained; its dataset may lie anywhere.
        runs: Folder of the run of each seed, inside the folder of the plan.
        compute: Where to train; what a worker is asked for goes before it.
        loggers: As of `rate.train`.
        needs: Jobs that must be done before.
    """
    data = {**recipe.to_json(), "dataset": list(map(plan.named, recipe.folders))}
    plain = asdict(TrainingCompute())
    shared = {
        "recipe": data,
        "compute": {key: one for key, one in asdict(compute).items() if one != plain[key]},
        "loggers": list(loggers),
    }
    return [
        Job(
            f"train-{Path(run).name}",
            "train",
            {"run": plan.output(run), "seed": seed, **shared},
            tuple(needs),
        )
        for seed, run in runs.items()
    ]


def write_plan(path: str | os.PathLike[str], jobs: Iterable[Job], command: str = "") -> Plan:
    """Write a plan; one that stands there already with the same jobs is kept.

    Args:
        path: The file, which ends in .jsonl.
        jobs: The jobs, each behind those that it needs.
        command: The command that the plan stands for.

    Raises:
        PlanError: There is a plan with other jobs, or these jobs cannot stand in a plan.
    """
    path = Path(path)
    plan = Plan(path, tuple(jobs), command)
    if path.suffix != ".jsonl":
        raise PlanError(f"{path} cannot be a plan: give a name that ends in .jsonl")
    rows = [json.loads(json.dumps(asdict(job))) for job in plan.jobs]
    _jobs(plan, rows)
    if path.exists():
        if json.loads(json.dumps([asdict(job) for job in read_plan(path).jobs])) != rows:
            raise PlanError(
                f"{path} is a plan with other jobs: choose another name, or remove it with "
                f"{plan.claims}"
            )
        return plan
    header = {"format": FORMAT, "format_version": FORMAT_VERSION, "command": command}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, "".join(json.dumps(row) + "\n" for row in [header, *rows]))
    return plan


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a plan.

    Raises:
        PlanError: The file is missing, damaged or no plan; the message says where.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise PlanError(f"{path} has more than {LARGEST} bytes: it is no plan")
        header, *rows = read_jsonl(path) or [{}]
    except FileNotFoundError as error:
        raise PlanError(
            f"there is no plan {path}: write one with `rate reproduce NAME --plan {path}`"
        ) from error
    except (OSError, ValueError) as error:
        raise PlanError(f"{path} cannot be read as a plan: {reason(error)}") from error
    if header.get("format") != FORMAT or header.get("format_version") != FORMAT_VERSION:
        shown = header.get("format"), header.get("format_version")
        raise PlanError(
            f"{path} is no plan of format {FORMAT} {FORMAT_VERSION}, but {brief(shown)}"
        )
    plan = Plan(path, (), str(header.get("command", "")))
    return Plan(path, _jobs(plan, rows), plan.command)


def _jobs(plan: Plan, rows: Sequence[Mapping[str, Any]]) -> tuple[Job, ...]:
    """Jobs from JSON data; a PlanError names the one that is none."""
    jobs: dict[str, Job] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{plan.path}, line {number}"
        try:
            unknown = set(row) - {"name", "verb", "options", "needs"}
            if unknown:
                raise PlanError(f"it has the unknown entries {brief(sorted(unknown))}")
            name = checked("name", row.get("name"), str)
            job = Job(
                name,
                checked("verb", row.get("verb"), Verb),
                checked("options", row.get("options"), dict),
                checked("needs", row.get("needs", []), tuple[str, ...]),
            )
            inside(plan.claims, f"{name}.done", error=PlanError)
            for key in ("output", "run"):
                if key in job.options:
                    plan.inner(job.options[key])
        except ValueError as error:
            raise PlanError(f"{where} is no job: {error}; verbs are {get_args(Verb)}") from error
        if name in jobs:
            raise PlanError(f"{where} has the same name as another job: {brief(name)}")
        if missing := [one for one in job.needs if one not in jobs]:
            raise PlanError(f"{where} needs {brief(missing)}, which no earlier line names")
        jobs[name] = job
    if not jobs:
        raise PlanError(f"{plan.path} has no jobs")
    return tuple(jobs.values())
