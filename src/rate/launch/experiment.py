"""The plan of an experiment: its data, its policies, their scores, and its report."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rate.experiments.outline import Subset, outline
from rate.launch.plan import Job, Plan, training_jobs, write_plan


def plan_experiment(
    name: str | Sequence[str],
    path: str | Path | None = None,
    output: str | Path | None = None,
    *,
    subset: Subset = Subset(),
    smoke: bool = False,
) -> Plan:
    """Write the plan of an experiment, after which nothing is done yet.

    Its rows are those of `rate.reproduce` with the same arguments.

    Args:
        name: Name of an experiment or suite, or path of a Python file that defines one; several
            are run as a suite.
        path: The file, in a folder above the output; by default plan.jsonl in the output.
        output: The folder of the results, by default runs/NAME, or runs/NAME-smoke.
        subset: The part of each experiment to run.
        smoke: Do the same in seconds; the numbers then mean nothing.

    Returns:
        The plan.

    Raises:
        PlanError: There is a plan with other jobs, or it does not lie above the output.
    """
    asked = outline(name, output, subset, smoke)
    plan = Plan(Path(path or asked.output / "plan.jsonl"))
    jobs, of_data = [], {}
    for folder, collection in asked.data.items():
        options = {**asdict(collection), "output": plan.output(folder)}
        of_data[str(folder)] = Job(f"collect-{folder.name}", "collect", options)
    jobs = list(of_data.values())
    for work in asked.work.values():
        needs = of_data[work.recipe.collection].name
        [training] = training_jobs(plan, work.recipe, {work.seed: work.run.path}, needs=[needs])
        scores = [asdict(score) for score in work.scores]
        options = {"run": plan.output(work.run.path), "scores": scores}
        jobs += [
            training,
            Job(f"evaluate-{work.run.name}", "evaluate", options, (training.name,)),
        ]
    names = [name] if isinstance(name, str) else list(name)
    options = {
        "experiments": names,
        "output": plan.output(asked.output),
        "subset": asdict(subset),
        "smoke": smoke,
    }
    scored = tuple(job.name for job in jobs if job.verb == "evaluate")
    jobs.append(Job("report", "report", options, scored))
    return write_plan(plan.path, jobs, f"rate reproduce {' '.join(names)}")
