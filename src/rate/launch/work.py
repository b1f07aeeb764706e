"""Doing the jobs of a plan: any number of processes, on any machines that see its folder."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from rate.acting.collection import collect
from rate.acting.corruption import Corruption
from rate.configs import build
from rate.dataset.card import CARD
from rate.experiments.outline import Score, Subset, require_recipe
from rate.launch.claims import MOST_CRASHES, Claims, State
from rate.launch.plan import Job, Plan, PlanError, read_plan
from rate.recipe import from_json
from rate.reproduction import evaluate_missing, reproduce
from rate.runs.folder import Run
from rate.storage.folders import LockedError
from rate.system.compute import Compute, with_changes
from rate.system.interruption import Interrupted
from rate.system.processes import Processes, worker_index
from rate.system.progress import progress_bar, say
from rate.training import resume, train
from rate.training.devices import TrainingCompute
from rate.values import Positive, Range, checked, checks_arguments

WAIT = 1.0
"""Seconds between two looks at a plan whose jobs are all taken."""
EXPIRE = 120.0
"""Seconds after which a process on another machine that does not answer is taken for dead."""

Seconds = Annotated[float, Range(1)]


@checks_arguments
def work(
    plan: str | Path,
    *,
    jobs: Positive = 1,
    compute: Compute = Compute(),
    expire: Seconds = EXPIRE,
    retry: bool = False,
    trust: bool = False,
    show_progress: bool = False,
    **changes: Any,
) -> dict[str, str]:
    """Do the jobs of a plan that nobody else is doing, until all are done.

    Any number of processes may work on a plan, on any machines that see its folder. A job that is
    begun is finished by another process if its own one dies: what it has saved is kept.

    Args:
        plan: The file that `rate reproduce --plan` or `rate train --seeds` wrote.
        jobs: Jobs side by side, each in its own process; they share a card, or the cards of this
            machine. One thread each unless `threads` says more.
        compute: Where to compute.
        expire: Seconds after which other machines take over a job whose process does not answer.
        retry: Try jobs again that have failed.
        trust: Run the code that the plan names: models, tasks or experiments of your own.
        show_progress: Show how many jobs are done.
        changes: Fields of `compute` by name.

    Returns:
        What has become of each job: "done".

    Raises:
        PlanError: The file is no plan, or jobs of it have failed; the message says which, and why.
        UntrustedError: It names code, and is not trusted.
        Interrupted: This process was asked to stop, and has saved.
    """
    [compute] = with_changes(changes, compute)
    if jobs > 1 and not compute.threads:
        compute = replace(compute, threads=1)
    opened = read_plan(plan)
    opened.require_trusted(trust)
    claims = Claims(opened.claims, expire)
    state = claims.state()
    for job in opened.jobs if retry else ():
        if claims.failure(job.name, state) is not None:
            claims.retry(job.name, state)
    function = partial(_take_jobs, opened.path, compute, expire, show_progress and jobs == 1)
    done = len(state.done)
    with (
        Processes(jobs, compute.threads) as processes,
        progress_bar(f"work {opened.path.name}", len(opened.jobs), done, show_progress) as bar,
    ):
        counts = processes.results(
            function, range(jobs), ordered=False, replacements=MOST_CRASHES * len(opened.jobs)
        )
        for count in counts:
            if count > done:
                bar(count - done)
                done = count
    return require_done(opened, claims)


def status(plan: Plan, claims: Claims) -> dict[str, str]:
    """What has become of each job: "done", "running", "failed: ..." with the reason, "free", or
    "waiting" for others."""
    state, found = claims.state(), {}
    for job in plan.jobs:
        attempts = state.attempts.get(job.name, 0)
        if job.name in state.done:
            found[job.name] = "done"
        elif (error := claims.failure(job.name, state)) is not None:
            found[job.name] = f"failed: {error}"
        elif state.crashes(job.name) and claims.alive(job.name, attempts - 1):
            facts = claims.facts(f"{job.name}.{attempts - 1}.claim")
            found[job.name] = f"running: {facts.get('worker')} since {facts.get('date')}"
        else:
            found[job.name] = "free" if state.done.issuperset(job.needs) else "waiting"
    return found


def wait_for(plan: Plan, show_progress: bool = False) -> dict[str, str]:
    """Wait until processes elsewhere have done a plan; returns what has become of each job.

    Raises:
        PlanError: Jobs have failed, and no other one can be done.
    """
    claims, done = Claims(plan.claims, EXPIRE), 0
    with progress_bar(plan.path.name, len(plan.jobs), 0, show_progress) as bar:
        while _left(plan, claims, state := claims.state()):
            if len(state.done) > done:
                bar(len(state.done) - done)
                done = len(state.done)
            time.sleep(WAIT)
    return require_done(plan, claims)


def require_done(plan: Plan, claims: Claims) -> dict[str, str]:
    """What has become of each job, if all are done; else a PlanError says which have failed."""
    found = status(plan, claims)
    failed = {name: text for name, text in found.items() if text.startswith("failed")}
    if failed:
        shown = "; ".join(f"{name} {text}" for name, text in list(failed.items())[:5])
        more = f"; and {len(failed) - 5} others" if len(failed) > 5 else ""
        raise PlanError(
            f"{len(failed)} of {len(plan.jobs)} jobs of {plan.path} failed, and jobs that need "
            f"them wait: {shown}{more}. Mend the cause, then `rate work {plan.path} --retry`"
        )
    return found


def _take_jobs(
    path: Path, compute: Compute, expire: float, show_progress: bool, number: int
) -> Iterator[int]:
    """Do one free job after another until nothing is left; yields how many jobs of the plan are
    done, whoever did them."""
    plan = read_plan(path)
    plan.require_trusted(True)  # `work` has checked it, perhaps in another process
    compute.use_one_card(worker_index())
    claims = Claims(plan.claims, expire)
    while True:
        state = claims.state()
        left = _left(plan, claims, state)
        if not left:
            yield len(state.done)
            return
        free = (job for job in left if state.done.issuperset(job.needs))
        if not any(_do(plan, job, claims, state, compute, show_progress) for job in free):
            time.sleep(WAIT)
        yield len(claims.state().done)


def _left(plan: Plan, claims: Claims, state: State) -> list[Job]:
    """Jobs that still have to be done, now or when those that they need are done; none that has
    failed or needs one that has."""
    left: list[Job] = []
    hopeless: set[str] = set()
    for job in plan.jobs:
        if job.name in state.done:
            continue
        if hopeless.intersection(job.needs) or claims.failure(job.name, state) is not None:
            hopeless.add(job.name)
        else:
            left.append(job)
    return left


def _do(
    plan: Plan, job: Job, claims: Claims, state: State, compute: Compute, show_progress: bool
) -> bool:
    """Do a job, unless another process is at it; whether this process had the claim."""
    claim = claims.claim(job.name, state)
    if claim is None:
        return False
    started = time.monotonic()
    try:
        _VERBS[job.verb](plan, job.options, compute, show_progress)
    except (Interrupted, LockedError) as error:
        claim.stopped()
        if isinstance(error, Interrupted):
            raise
    except Exception as error:
        claim.failed(error)
        say(f"{job.name} failed: {error}")
    except BaseException:
        claim.stopped()
        raise
    else:
        claim.done(seconds=round(time.monotonic() - started, 3))
    return True


Options = Mapping[str, Any]


def _collect(plan: Plan, options: Options, compute: Compute, show_progress: bool) -> None:
    folder = plan.inner(options["output"])
    if not (folder / CARD).exists():
        given = {**options, "output": folder}
        collect(**given, show_progress=show_progress)


def _train(plan: Plan, options: Options, compute: Compute, show_progress: bool) -> None:
    run, data = plan.inner(options["run"]), dict(options["recipe"])
    folders = checked("dataset", data["dataset"], tuple[str, ...])
    recipe = from_json({**data, "dataset": list(map(plan.outer, folders))})
    if Run(run).exists:
        require_recipe(Run(run), recipe)
        resume(run, show_progress=show_progress)
        return
    plain = asdict(Compute())
    asked = {key: one for key, one in asdict(compute).items() if one != plain[key]}
    train(
        recipe,
        run,
        seed=options["seed"],
        compute=build(TrainingCompute, {**options.get("compute", {}), **asked}),
        loggers=options.get("loggers", ()),
        show_progress=show_progress,
    )


def _evaluate(plan: Plan, options: Options, compute: Compute, show_progress: bool) -> None:
    scores = [
        build(Score, {**one, "corruption": build(Corruption, given) if given else None})
        for one in options["scores"]
        for given in [one.get("corruption")]
    ]
    evaluate_missing(plan.inner(options["run"]), scores, compute, show_progress)


def _report(plan: Plan, options: Options, compute: Compute, show_progress: bool) -> None:
    subset = build(Subset, options.get("subset", {}))
    reproduce(
        options["experiments"],
        plan.inner(options["output"]),
        subset=subset,
        compute=compute,
        smoke=options.get("smoke", False),
        show_progress=show_progress,
    )


_VERBS = {"collect": _collect, "train": _train, "evaluate": _evaluate, "report": _report}
