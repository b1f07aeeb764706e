"""An exported policy acts 100,000 steps of T-Maze without PyTorch: it remembers, and does not
grow."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import rate

ROOT = Path(__file__).parents[2]
PLAY = """
    import json, sys
    sys.modules |= {"torch": None, "safetensors": None}
    import numpy as np
    from example import Agent
    from rate.tasks.lookup import find

    def resident():
        return int(open("/proc/self/statm").read().split()[1])

    task, agent, steps = find("tmaze/50001"), Agent("."), 0
    scores, pages = [], {}
    for seed in (100, 101):  # one of each cue
        environment = task.environment()
        observation, _ = environment.reset(seed=seed)
        reward, over, total = 0.0, False, 0.0
        agent.reset(1)
        while not over:
            [action] = agent.act(np.asarray(observation)[None], np.array([reward]))
            observation, reward, terminated, truncated, _ = environment.step(action)
            total, over, steps = total + reward, terminated or truncated, steps + 1
            if steps in (1_000, 100_000):
                pages[steps] = resident()
        scores.append(task.score(total, steps))
    print(json.dumps({"scores": scores, "pages": list(pages.values()), "steps": steps}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads its memory from /proc")
def test_an_exported_policy_remembers_for_100_000_steps(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    folder = rate.export(ROOT / "models" / "tmaze-rate", tmp_path / "exported")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PLAY)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["scores"] == [1.0, 1.0]
    assert found["steps"] >= 100_000
    first, last = found["pages"]
    assert last <= 1.05 * first
