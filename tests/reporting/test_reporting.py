import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from rate.reporting import report
from rate.reporting.load import ReportError, SuiteFacts
from rate.reporting.publish import publish, read_paper, render_results, update_markdown
from rate.reporting.style import spread, task_labels
from rate.reporting.suite import overview, write_suite
from rate.storage.files import read_jsonl

PAPER = Path(__file__).parents[2] / "results" / "paper.toml"
PNG = b"\x89PNG\r\n\x1a\n"
LENGTHS, SEEDS = (9, 90, 900), (0, 1)


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def result(variant, seed, length, rate, **changes):
    scores = [1.0] * round(10 * rate) + [0.0] * (10 - round(10 * rate))
    return {
        "experiment": "demo",
        "variant": variant,
        "checkpoint": "last",
        "recipe": f"{variant}-hash",
        "seed": seed,
        "task": f"tmaze/{length}",
        "metric": "success",
        "x": length,
        "value": float(np.mean(scores)),
        "standard_error": 0.1,
        "episodes": 10,
        "scores": scores,
        "commit": "c0ffee",
        "device": "cpu",
        "seconds": 1.5,
        "date": f"2026-01-0{seed + 1}T00:00:00+00:00",
        **changes,
    }


def write_run(folder, variant, seed, updates=120):
    folder.mkdir(parents=True)
    recipe = {
        "hash": f"{variant}-hash",
        "model": {"name": variant, "layers": 2},
        "dataset": "data/tmaze",
    }
    provenance = {
        "seed": seed,
        "commit": "beef42",
        "date": "2026-01-01T00:00:00+00:00",
        "python": "3.11.9",
        "machine": "Linux x86_64",
        "packages": {"torch": "2.13.0"},
        "dataset": "0123456789",
    }
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "provenance.json").write_text(json.dumps(provenance))
    losses = np.exp(-np.arange(1, updates + 1) / 40) + 0.01 * seed
    rows = [
        {"update": index + 1, "loss": float(loss), "accuracy": 1 - float(loss) / 2}
        for index, loss in enumerate(losses)
    ]
    write_lines(folder / "metrics.jsonl", rows)


@pytest.fixture
def experiment(tmp_path):
    folder = tmp_path / "demo"
    rows = []
    for variant, beyond in (("rate", 1.0), ("dt", 0.5)):
        for seed in SEEDS:
            write_run(folder / "runs" / f"{variant}-{seed}", variant, seed)
            rows += [
                result(variant, seed, length, 1.0 if length <= 90 else beyond) for length in LENGTHS
            ]
    write_lines(folder / "rows.jsonl", rows)
    facts = {
        "name": "demo",
        "title": "Success against length",
        "claim": "RATE remembers.",
        "source": "Fig. 5",
        "axis": "corridor length T (steps)",
        "training_length": 90,
        "order": ["rate", "dt"],
        "seeds": list(SEEDS),
        "paper": {"dt": "1.00, then about 0.50"},
        "command": "rate reproduce demo",
        "cost": "five minutes",
        "checkpoint": "last",
        "runs": [
            {"variant": variant, "seed": seed, "folder": f"runs/{variant}-{seed}"}
            for variant in ("rate", "dt")
            for seed in SEEDS
        ],
    }
    (folder / "experiment.json").write_text(json.dumps(facts))
    return folder


def change(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def rows_of(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def test_reporting_leaves_torch_alone():
    code = "import sys, rate.reporting, rate.reporting.publish; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_report_of_an_experiment_is_complete(experiment):
    path = report(experiment)
    assert path == experiment / "report.html"
    assert json.loads((experiment / "summary.json").read_text()) == {
        "rate": {"9": 1.0, "90": 1.0, "900": 1.0},
        "dt": {"9": 1.0, "90": 1.0, "900": 0.5},
    }
    for name in ("success.png", "training.png"):
        assert (experiment / name).read_bytes().startswith(PNG)
    facts = (
        "Success against length",
        "RATE remembers.",
        "Fig. 5",
        "rate reproduce demo",
        "five minutes",
        "rate-hash",
    )
    facts += (
        "c0ffee",
        "beef42",
        "0123456789",
        "2.13.0",
        "Linux x86",
        "2 seeds, 10 episodes each",
        "bootstrap",
    )
    for text in (path.read_text(), (experiment / "report.md").read_text()):
        for fact in (*facts, "1.00, then about 0.50", "0.50 ± 0.00", "2026-01-02"):
            assert fact in text, fact
        assert "Incomplete" not in text


def test_a_grid_becomes_a_heat_map_and_remarks_are_told(experiment):
    grid = {"rate": ["RATE", "90"], "dt": ["DT", "90"]}
    change(experiment / "experiment.json", grid=grid, grid_axis="training length")
    (experiment / "remarks.md").write_text("DT lacks\na memory.\n")
    text = report(experiment).read_text()
    assert (experiment / "heat-map.png").read_bytes().startswith(PNG)
    for fact in ("Heat map", "training length", "What it shows", "DT lacks\na memory."):
        assert fact in text
    assert "## What it shows\n\nDT lacks a memory.\n" in (experiment / "report.md").read_text()
    change(experiment / "experiment.json", grid={"rate": ["RATE"]})
    with pytest.raises(ReportError, match="grid"):
        report(experiment)


def test_a_variant_that_was_scored_on_fewer_tasks_leaves_a_gap(experiment):
    cues = {"cues": [0, 1] * 5}
    rows = [result("rate", seed, length, 1.0, **cues) for seed in SEEDS for length in LENGTHS]
    rows += [result("noise", seed, 900, 0.5, **cues) for seed in SEEDS]
    write_lines(experiment / "rows.jsonl", rows)
    change(experiment / "experiment.json", order=["rate"])
    text = report(experiment).read_text()
    assert "Does the answer depend on the cue?" in text


def test_returns_that_are_not_the_scores_have_a_section_of_their_own(experiment):
    assert "## Return" not in text_of(experiment)
    rows = rows_of(experiment)
    for row in rows:
        if row["x"] == 900:
            row["returns"] = [0.75 * score for score in row["scores"]]
    write_lines(experiment / "rows.jsonl", rows)
    section = text_of(experiment).partition("## Return")[2].partition("\n## ")[0]
    assert "Mean return of the same episodes" in section
    assert "| 900 | 0.75 ± 0.00 | 0.38 ± 0.00 |" in section
    assert "| 9 | 1.00 ± 0.00 | 1.00 ± 0.00 |" in section
    assert (experiment / "return.png").read_bytes().startswith(PNG)


def text_of(folder):
    report(folder)
    return (folder / "report.md").read_text()


def test_many_variants_are_rows_of_the_table(experiment):
    rows = [result(f"variant-{number}", 0, 9, 1.0) for number in range(9)]
    write_lines(experiment / "rows.jsonl", rows)
    change(experiment / "experiment.json", order=[row["variant"] for row in rows], seeds=[0])
    report(experiment)
    assert "| variant | 9 |" in (experiment / "report.md").read_text()


def test_the_overview_of_a_suite_adds_up_what_it_cost(tmp_path, experiment):
    experiment.rename(tmp_path / "suite")
    suite = tmp_path / "suite"
    (suite / "member").mkdir()
    for name in ("experiment.json", "rows.jsonl"):
        (suite / name).rename(suite / "member" / name)
    facts = json.loads((suite / "member" / "experiment.json").read_text())
    runs = [{**run, "folder": f"../{run['folder']}"} for run in facts["runs"]]
    change(suite / "member" / "experiment.json", runs=runs)
    for run in (
        suite / "runs"
    ).iterdir():  # interrupted after half an hour, and a minute after resuming
        write_lines(
            run / "metrics.jsonl",
            [{"update": n, "seconds": s} for n, s in ((1, 900), (2, 1800), (3, 60))],
        )
        write_lines(run / "scores.jsonl", [{"seconds": 1740}])
    write_suite(suite, SuiteFacts("suite", "A suite", "rate reproduce suite", ("member",)))
    text = overview(suite).read_text()
    assert "4.0 processor hours" in text  # four runs of 1800 + 60 + 1740 seconds
    assert 'href="member/report.html"' in text
    assert report(suite / "member").exists()
    (tmp_path / "README.md").write_text("")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "paper.toml").write_text("")
    page = publish(suite, tmp_path)[-1]
    assert page == tmp_path / "docs" / "results" / "suite.md"
    names = [name for _, name in re.findall(r"\[(.*?)\]\((.*?)\)", page.read_text())]
    assert [(page.parent / name).suffix for name in names] == [".md"]
    assert len(read_jsonl(tmp_path / "results" / f"{facts['name']}.jsonl")) == len(
        read_jsonl(suite / "member" / "rows.jsonl")
    )


def test_html_is_one_file_without_scripts_or_addresses(experiment):
    tags, sources = [], []

    class Addresses(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append(tag)
            sources.extend(value for name, value in attributes if name in ("src", "href"))

    Addresses().feed(report(experiment).read_text())
    assert not {"script", "link", "iframe", "img", "style/"} & set(tags)
    assert tags.count("svg") == 4  # two figures, each wide and narrow
    assert tags.count("style") == 1
    assert sources == []


def test_report_is_the_same_each_time(experiment, tmp_path):
    first, second = (report(experiment, tmp_path / name).parent for name in ("first", "second"))
    assert not (experiment / "report.html").exists()
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_missing_seed_shows_as_missing(experiment):
    write_lines(
        experiment / "rows.jsonl",
        [
            row
            for row in rows_of(experiment)
            if (row["variant"], row["seed"], row["x"]) != ("rate", 1, 900)
        ],
    )
    text = report(experiment).read_text()
    assert "rate has no result for seed 1 at 900" in text
    assert "1.00 ± 0.00 (without seed 1) |" in (experiment / "report.md").read_text()
    assert json.loads((experiment / "summary.json").read_text())["rate"] == {
        "9": 1.0,
        "90": 1.0,
        "900": None,
    }
    task = next(row["task"] for row in rows_of(experiment) if row["x"] == 900)
    change(experiment / "experiment.json", first_seed_only=[task])
    text = report(experiment).read_text()
    assert "Incomplete" not in text
    assert "At 900 one seed is scored" in text


def test_missing_variant_shows_as_missing(experiment):
    change(experiment / "experiment.json", order=["rate", "dt", "lstm"])
    text = report(experiment).read_text()
    assert "lstm has no result for seeds 0, 1 at 9, 90, 900" in text
    assert json.loads((experiment / "summary.json").read_text())["lstm"] == {
        "9": None,
        "90": None,
        "900": None,
    }


def test_other_checkpoints_are_told_apart(experiment):
    rows = rows_of(experiment)
    write_lines(
        experiment / "rows.jsonl",
        [*rows, *({**row, "checkpoint": "best", "value": 0.0, "scores": [0.0]} for row in rows)],
    )
    report(experiment)
    assert json.loads((experiment / "summary.json").read_text())["rate"]["9"] == 1.0
    assert "| rate | tmaze/9 | best | 0.00 ± 0.00 |" in (experiment / "report.md").read_text()


def test_rows_with_cues_show_whether_there_is_memory(experiment):
    rows = [{**row, "cues": [0, 1] * 5} for row in rows_of(experiment)]
    write_lines(experiment / "rows.jsonl", rows)
    report(experiment)
    assert (experiment / "conditional.png").read_bytes().startswith(PNG)
    assert "Does the answer depend on the cue?" in (experiment / "report.md").read_text()


def test_run_folder_with_and_without_scores(tmp_path):
    run = tmp_path / "first"
    write_run(run, "rate", 0)
    assert "No scores yet" in report(run).read_text()
    assert json.loads((run / "summary.json").read_text()) == {}
    write_lines(run / "scores.jsonl", [result("first", 0, 90, 0.7, experiment="")])
    text = report(run).read_text()
    assert "Run first" in text
    assert "0.70 ± 0.15" in text
    assert json.loads((run / "summary.json").read_text()) == {"first": {"90": 0.7}}


@pytest.mark.parametrize("x", [-9, 0, float("inf"), float("nan")])
def test_a_number_that_is_no_position_on_an_axis_is_none(experiment, x):
    rows = [row | {"x": x if row["x"] == 9 else row["x"]} for row in rows_of(experiment)]
    write_lines(experiment / "rows.jsonl", rows)
    report(experiment)
    kept = json.loads((experiment / "summary.json").read_text())
    assert list(kept["rate"]) == ["tmaze/90", "tmaze/900", "tmaze/9"]
    assert "tmaze/9 " in (experiment / "report.md").read_text()


def test_tasks_without_position_are_named(tmp_path):
    run = tmp_path / "first"
    write_run(run, "rate", 0)
    write_lines(
        run / "scores.jsonl",
        [result("first", 0, 9, 1.0, x=None, task="popgym/easy", metric="return")],
    )
    report(run)
    assert not (run / "success.png").exists()
    assert json.loads((run / "summary.json").read_text()) == {"first": {"popgym/easy": 1.0}}
    assert not (run / "tasks.png").exists()
    more = [
        result("first", 0, 9, rate, x=None, task=f"popgym/{rate}", metric="return")
        for rate in (0.5, 0.7)
    ]
    write_lines(run / "scores.jsonl", more)
    assert "![Return by task. Lines:" in text_of(run)
    assert (run / "tasks.png").read_bytes().startswith(PNG)


HOSTILE = '<script>alert(1)</script> | `x` </td> <!-- /results --> $\\frac{ "&'


def test_everything_from_files_is_escaped(experiment):
    keys = ("title", "claim", "source", "axis", "command", "cost")
    change(
        experiment / "experiment.json",
        **dict.fromkeys(keys, HOSTILE),
        paper={HOSTILE: HOSTILE},
        order=[HOSTILE],
    )
    rows = [
        {**row, "task": HOSTILE, "metric": HOSTILE, "commit": HOSTILE}
        for row in rows_of(experiment)
    ]
    write_lines(experiment / "rows.jsonl", [*rows, {**rows[0], "variant": HOSTILE}])
    for run in (experiment / "runs").iterdir():
        change(run / "provenance.json", machine=HOSTILE, packages={HOSTILE: HOSTILE}, date=HOSTILE)
        change(run / "recipe.json", hash=HOSTILE, note=HOSTILE)
    html = report(experiment).read_text()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    prose = [
        line
        for line in (experiment / "report.md").read_text().splitlines()
        if not line.startswith("    ")
    ]
    assert not any(re.search(r"<\w|<!--|(?<!\\)`", line) for line in prose)
    tables = [line for line in prose if line.startswith("|")]
    assert (
        len(
            {
                len(re.findall(r"(?<!\\)\|", line))
                for line in tables
                if "fact" in line or "machine" in line
            }
        )
        == 1
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("experiment.json", "{", "experiment.json is not JSON"),
        ("experiment.json", "[]", "must hold a JSON object"),
        ("experiment.json", '{"seeds": ["0"]}', "seeds must be of type int"),
        ("experiment.json", '{"order": "rate"}', "order must be of type list"),
        ("experiment.json", '{"title": 3}', "title must be of type str"),
        ("experiment.json", '{"training_length": -90}', "it must be a positive number"),
        ("experiment.json", '{"training_length": NaN}', "training_length"),
        ("rows.jsonl", "{}\nnot json\n{}\n", "rows.jsonl"),
        ("rows.jsonl", '{"variant": "rate"}\n', "lacks seed, task"),
        ("runs/rate-0/recipe.json", "", "recipe.json is not JSON"),
        ("runs/rate-0/provenance.json", "{}", "seed must be of type int"),
        ("runs/rate-0/metrics.jsonl", '{"update": 1, "loss": "low"}\n', "not a number"),
    ],
)
def test_damaged_folders_are_speaking_errors(experiment, name, content, message):
    (experiment / name).write_text(content)
    with pytest.raises(ReportError, match=re.escape(message)) as raised:
        report(experiment)
    assert str(experiment) in str(raised.value)
    assert not (experiment / "report.html").exists()


def test_folder_that_is_neither_run_nor_experiment_is_refused(tmp_path):
    with pytest.raises(ReportError, match=r"neither experiment\.json nor recipe\.json"):
        report(tmp_path)
    with pytest.raises(ReportError, match="does not exist"):
        report(tmp_path / "nowhere")


def test_nan_in_the_scores_is_refused(experiment):
    rows = rows_of(experiment)
    rows[0]["scores"][0] = float("nan")
    write_lines(experiment / "rows.jsonl", rows)
    with pytest.raises(ReportError, match="row of rate, seed 0, tmaze/9: scores must be finite"):
        report(experiment)


@pytest.mark.filterwarnings("error")
def test_a_single_position_far_from_the_training_length_can_be_drawn(experiment):
    write_lines(experiment / "rows.jsonl", [row for row in rows_of(experiment) if row["x"] == 9])
    report(experiment)
    assert (experiment / "success.png").read_bytes().startswith(PNG)


def test_labels_spread_around_their_middle():
    assert spread([0.1, 0.5], 0.1) == [0.1, 0.5]
    np.testing.assert_allclose(spread([0.5, 0.5, 0.5], 0.1), [0.4, 0.5, 0.6])
    moved = spread([0.0, 0.04, 0.05, 0.9], 0.1)
    assert (np.diff(moved) >= 0.1 - 1e-9).all()


def test_labels_stay_within_the_figure():
    assert spread([0.2, 0.5], 0.1, 0.0, 1.0) == [0.2, 0.5]
    many = [0.5] * 8 + [1.0] * 9
    assert spread(many, 0.06)[-1] > 1.1
    moved = spread(many, 0.06, 0.0, 1.0)
    assert (min(moved) >= 0, max(moved)) == (True, 1.0)
    assert (np.diff(moved) >= 0.06 - 1e-9).all()


@pytest.fixture
def results(tmp_path, experiment):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "paper.toml").write_text(PAPER.read_text())
    rows = [{**row, "experiment": "tmaze-oracle"} for row in rows_of(experiment)]
    write_lines(folder / "tmaze-oracle.jsonl", rows)
    return folder


def test_published_values_are_read():
    paper = read_paper(PAPER)
    assert paper["tmaze-valve"].values["ca-2"]["900"] == (0.90, 0.07)
    assert paper["tmaze-oracle"].values["dt"]["480"] == (0.50, 0.0)
    assert "figure without numbers" in paper["demo"].note
    assert "memory criterion" in paper["aar"].statements["rate"]


def test_results_are_rendered_with_the_paper_beside(results, tmp_path):
    (page,) = render_results(results, tmp_path / "docs")
    text = page.read_text()
    assert page == tmp_path / "docs" / "results" / "tmaze-oracle.md"
    assert "Table 5" in text
    assert (
        "| rate | tmaze/900 | 1.00 ± 0.00 | 1.00 to 1.00 | 1.00 | 1.00 to 1.00 | 2 | 20 | "
        "1.5 | 0.90 ± 0.07 | +0.10 |" in text
    )
    assert "1.00 ± 0.00 at 90, 0.50 ± 0.00 at 480, 0.50 ± 0.00 at 900" in text
    # wherever the paper prints a value, too
    measured = "1.00 ± 0.00 at 9, 1.00 ± 0.00 at 90, 1.00 ± 0.00 at 900"
    assert (
        f"| rate | {measured} | 1.00 ± 0.00 at 90, 0.90 ± 0.07 at 480, 0.90 ± 0.07 at 900 |" in text
    )
    (figure,) = re.findall(r"\]\((.*png)\)", text)
    assert (page.parent / figure).read_bytes().startswith(PNG)


def test_what_the_paper_says_of_a_model_stands_beside_each_of_its_rows_in_a_heat_map(
    results, tmp_path, experiment
):
    facts = json.loads((experiment / "experiment.json").read_text())
    rows = [
        {**row, "experiment": "tmaze-heat-maps", "variant": f"{row['variant']}-90"}
        for row in rows_of(experiment)
    ]
    (results / "tmaze-oracle.jsonl").unlink()
    write_lines(results / "tmaze-heat-maps.jsonl", rows)
    grid = {"rate-90": ["rate", "90"], "dt-90": ["dt", "90"]}
    facts |= {"name": "tmaze-heat-maps", "order": list(grid), "grid": grid, "paper": {}}
    (results / "tmaze-heat-maps.json").write_text(json.dumps(facts))
    (page,) = render_results(results, tmp_path / "docs")
    text = page.read_text()
    assert "0.50 ± 0.00 at 900 | high up to the training length, 0.5 beyond it |" in text
    assert "Source: Fig. 5\n" in text


def test_planned_seeds_come_from_the_facts_beside_the_rows(results, tmp_path, experiment):
    facts = json.loads((experiment / "experiment.json").read_text())
    (results / "tmaze-oracle.json").write_text(json.dumps({**facts, "seeds": [0, 1, 2]}))
    (page,) = render_results(results, tmp_path / "docs")
    text = page.read_text()
    assert text.split("\n\n")[1] == "# Success against length"
    assert "rate, dt have no results for seed 2 at 9, 90, 900" in text


def test_remarks_lie_beside_the_rows_and_the_published_pages_are_up_to_date(results, tmp_path):
    (results / "tmaze-oracle.md").write_text("Seen | by\nus.\n")
    (page,) = render_results(results, tmp_path / "docs")
    assert "## What it shows\n\nSeen \\| by us.\n" in page.read_text()
    published = Path(__file__).parents[2] / "docs" / "results"
    for page in render_results(PAPER.parent, tmp_path / "published"):
        assert page.read_bytes() == (published / page.name).read_bytes(), page.name


def test_tables_between_markers_are_updated_once(results, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results:tmaze-oracle -->\nold\n<!-- /results -->\nafter\n")
    assert update_markdown(readme, results)
    text = readme.read_text()
    assert text.startswith("before\n<!-- results:tmaze-oracle -->\n")
    assert text.endswith("<!-- /results -->\nafter\n")
    assert "| 900 | 1.00 (2 of 2) | 0.50 (0 of 2) |" in text
    assert "2 of 2 has the exact 95 % interval 0.16 to 1.00" in text
    assert "\nold\n" not in text
    assert not update_markdown(readme, results)
    assert readme.read_text() == text
    readme.write_text("<!-- results:tmaze-oracle dt rate -->\n<!-- /results -->\n")
    assert update_markdown(readme, results)
    assert "| 900 | 0.50 (0 of 2) | 1.00 (2 of 2) |" in readme.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- results:tmaze-oracle -->", "must come in pairs"),
        ("<!-- /results -->", "must come in pairs"),
        ("<!-- results:other --><!-- /results -->", "has rows of tmaze-oracle only"),
        ("<!-- results:tmaze-oracle no --><!-- /results -->", "no such variants"),
    ],
)
def test_wrong_markers_are_refused(results, tmp_path, text, message):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ReportError, match=message):
        update_markdown(readme, results)
    assert readme.read_text() == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[a", "is not TOML"),
        ("a = 3", "is not understood"),
        ('[a]\nsource = "x"', "experiments"),
        (
            '[a]\nsource = "x"\nexperiments = ["e"]\nvalues = {rate = {9 = [1.0]}}',
            "is not understood",
        ),
        (
            '[a]\nsource = "x"\nexperiments = ["e"]\n[b]\nsource = "y"\nexperiments = ["e"]',
            "two tables name the experiment 'e'",
        ),
    ],
)
def test_damaged_published_values_are_speaking_errors(tmp_path, content, message):
    path = tmp_path / "paper.toml"
    path.write_text(content)
    with pytest.raises(ReportError, match=message):
        read_paper(path)


def test_rows_of_another_experiment_are_refused(results, tmp_path):
    (results / "tmaze-oracle.jsonl").rename(results / "aar.jsonl")
    with pytest.raises(ReportError, match="holds a row of 'tmaze-oracle'"):
        render_results(results, tmp_path / "docs")


@pytest.fixture
def several(tmp_path):
    """Two seeds of one recipe and one run of another, each with scores of its own."""
    for name, variant, seed, rate in (
        ("memory/seed-0", "rate", 0, 1.0),
        ("memory/seed-1", "rate", 1, 0.8),
        ("plain", "dt", 0, 0.5),
    ):
        write_run(tmp_path / name, variant, seed)
        own = name.rpartition("/")[2]
        rows = [
            result(own, seed, 90, rate, recipe="r"),
            result(f"{own}, zeros", seed, 90, 0.5, recipe="r", corruption={"kind": "zeros"}),
        ]
        write_lines(tmp_path / name / "scores.jsonl", rows)
    return tmp_path


def test_runs_side_by_side_are_variants_and_their_seeds_are_averaged(several):
    html = report([several / "memory", several / "plain"])
    assert html == several / "comparison" / "report.html"
    means = json.loads((html.parent / "summary.json").read_text())
    assert means["memory"] == {"90": pytest.approx(0.9)}
    text = (html.parent / "report.md").read_text()
    assert "Comparison of memory, plain" in text
    assert "| model.name | rate | dt |" in text
    assert "memory, zeros" in text
    assert "seed-0" not in text


def test_a_folder_of_runs_is_compared_in_place(several):
    assert report(several) == several / "report.html"
    means = json.loads((several / "summary.json").read_text())
    assert set(means) == {"memory", "memory, zeros", "plain", "plain, zeros"}


def test_runs_of_one_seed_keep_their_names(several):
    write_run(several / "again", "rate", 0)
    html = report([several / "memory" / "seed-0", several / "again"])
    assert "Comparison of seed-0, again" in (html.parent / "report.md").read_text()


def test_folders_without_runs_are_refused(several, tmp_path):
    (several / "empty").mkdir()
    with pytest.raises(ReportError, match=r"empty has no run in it: give run folders"):
        report([several / "plain", several / "empty"])


def test_labels_of_tasks_say_what_tells_them_apart():
    names = [
        f"mujoco/Hopper,target_return={target},expert={quality},metric=own-score"
        for target, quality in ((1100.0, "medium"), (1100.0, "medium-replay"), (800.0, "medium"))
    ]
    assert task_labels(names, 34) == [
        "Hopper, target_return=1100.0,\nexpert=medium",
        "Hopper, target_return=1100.0,\nexpert=medium-replay",
        "Hopper, target_return=800.0,\nexpert=medium",
    ]
    assert task_labels(["popgym/RepeatFirst-easy"], 34) == ["RepeatFirst-easy"]
    (long,) = task_labels(["a/" + "word " * 40], 16)
    assert long.count("\n") == 2
    assert long.endswith("…")
