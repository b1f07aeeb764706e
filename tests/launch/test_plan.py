import json

import pytest

import rate
from rate.addresses import UntrustedError
from rate.experiments.outline import Subset
from rate.launch.experiment import plan_experiment
from rate.launch.plan import Job, Plan, PlanError, read_plan, training_jobs, write_plan
from rate.storage.files import read_jsonl
from rate.training.devices import TrainingCompute


def jobs():
    return [
        Job("collect", "collect", {"task": "recall/6", "output": "data", "episodes": 8}),
        Job("train", "train", {"run": "runs/a", "seed": 0, "recipe": {}}, ("collect",)),
    ]


def written(tmp_path, *rows):
    path = tmp_path / "plan.jsonl"
    header = {"format": "rate-plan", "format_version": 1}
    path.write_text("".join(json.dumps(row) + "\n" for row in (header, *rows)))
    return path


def test_a_plan_is_read_as_it_was_written_and_never_overwritten(tmp_path):
    plan = write_plan(tmp_path / "deep" / "plan.jsonl", jobs(), "rate reproduce x")
    assert read_plan(plan.path) == plan
    assert write_plan(plan.path, jobs()).jobs == plan.jobs
    with pytest.raises(PlanError, match="is a plan with other jobs: choose another name"):
        write_plan(plan.path, jobs()[:1])
    with pytest.raises(PlanError, match=r"give a name that ends in \.jsonl"):
        write_plan(tmp_path / "plan.json", jobs())


BASE = {"name": "a", "verb": "collect", "options": {}}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "has no jobs"),
        ([{**BASE, "verb": "remove"}], "verb must be one of collect, train, evaluate, report"),
        ([{**BASE, "name": "../a"}], "cannot name a file"),
        ([{**BASE, "name": 3}], "name must be a text"),
        ([{**BASE, "options": {"output": "../../x"}}], "cannot name a file"),
        ([{**BASE, "options": {"run": "/x"}}], "cannot name a file"),
        ([{**BASE, "needs": ["b"]}], "needs ['b'], which no earlier line names"),
        ([BASE, BASE], "the same name as another job"),
        ([{**BASE, "when": 1}], "unknown entries ['when']"),
    ],
)
def test_what_is_no_plan_is_a_sentence(rows, message, tmp_path):
    with pytest.raises(PlanError) as error:
        read_plan(written(tmp_path, *rows))
    assert message in str(error.value)


def test_other_files_are_no_plans(tmp_path):
    with pytest.raises(PlanError, match="there is no plan"):
        read_plan(tmp_path / "none.jsonl")
    for text in ("", "not JSON\nat all\n", '{"format": "rate-dataset"}\n', '{"a": 1}\n{"b": 2}\n'):
        (tmp_path / "other.jsonl").write_text(text)
        with pytest.raises(PlanError, match=r"is no plan|cannot be read as a plan"):
            read_plan(tmp_path / "other.jsonl")


def test_code_that_a_plan_names_needs_trust(tmp_path):
    rows = [
        {**BASE, "options": {"task": "stranger_module:make", "output": "data"}},
        {**BASE, "name": "b", "options": {"recipe": {"model": {"name": "stranger.py:Config"}}}},
        {**BASE, "name": "c", "options": {"scores": [{"task": "gym:stranger:Id-v0"}]}},
        {**BASE, "name": "d", "verb": "report", "options": {"experiments": ["stranger.py"]}},
    ]
    for row in rows:
        with pytest.raises(UntrustedError, match=r"names the code '(gym:)?stranger"):
            rate.work(written(tmp_path, row))
        assert not list(tmp_path.glob("*.claims"))


def test_what_jobs_write_lies_in_the_folder_of_the_plan(tiny, tmp_path):
    plan = Plan(tmp_path / "plans" / "plan.jsonl")
    with pytest.raises(PlanError, match="choose a plan in a folder above"):
        training_jobs(plan, tiny(), {0: tmp_path / "runs" / "a"})
    compute = TrainingCompute(loader_workers=2)
    [job] = training_jobs(plan, tiny(), {3: plan.folder / "runs" / "a"}, compute=compute)
    assert (job.name, job.options["run"], job.options["seed"]) == ("train-a", "runs/a", 3)
    assert job.options["compute"] == {"loader_workers": 2}
    assert job.options["recipe"]["dataset"] == [tiny().dataset]


def test_the_plan_of_an_experiment_holds_its_data_runs_scores_and_report(tmp_path):
    subset = Subset(seeds=(0, 1), variants=("dt",))
    plan = plan_experiment("demo", output=tmp_path / "out", subset=subset, smoke=True)
    assert plan.path == tmp_path / "out" / "plan.jsonl"
    assert {job.name: job.needs for job in plan.jobs} == {
        "collect-tmaze": (),
        "train-dt-0": ("collect-tmaze",),
        "train-dt-1": ("collect-tmaze",),
        "evaluate-dt-0": ("train-dt-0",),
        "evaluate-dt-1": ("train-dt-1",),
        "report": ("evaluate-dt-0", "evaluate-dt-1"),
    }
    assert len(read_jsonl(plan.path)) == 7
    again = plan_experiment("demo", output=tmp_path / "out", subset=subset, smoke=True)
    assert again.jobs == plan.jobs
    with pytest.raises(PlanError, match="choose a plan in a folder above"):
        plan_experiment("demo", tmp_path / "in" / "plan.jsonl", tmp_path / "out", smoke=True)
