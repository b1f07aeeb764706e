"""The trained policies in models/ act as models/README.md says."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import rate
from rate.storage.files import read_jsonl

MODELS = Path(__file__).parents[1] / "models"
NAMES = sorted(path.parent.name for path in MODELS.glob("*/recipe.json"))
MOST_BYTES = 2_000_000
EPISODES = 6


def test_there_are_five_and_they_are_small():
    assert len(NAMES) == 5
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_a_trained_policy_plays_as_recorded(name, tmp_path):
    row = read_jsonl(MODELS / name / "scores.jsonl")[0]
    if row["task"].startswith("minigrid"):
        pytest.importorskip("minigrid")
    run = shutil.copytree(MODELS / name, tmp_path / name)
    options = {"first_seed": row["first_seed"], "episodes": EPISODES, "threads": 1}
    [played] = rate.evaluate(run, [row["task"]], **options)
    # Rounding differs between machines, and may change a step of one episode.
    wrong = np.sum(np.array(played["scores"]) != row["scores"][:EPISODES])
    assert wrong <= 1


def test_the_page_shows_the_recorded_scores():
    page = (MODELS / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        for row in read_jsonl(MODELS / name / "scores.jsonl"):
            seeds = f"{row['first_seed']} to {row['first_seed'] + row['episodes'] - 1}"
            cells = name, row["task"], f"{row['value']:.2f}", str(row["episodes"]), seeds
            assert f"| {' | '.join(cells)} |" in page
