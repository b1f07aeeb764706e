import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_python_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    example = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example, "README.md has no Python example"
    monkeypatch.chdir(tmp_path)
    exec(compile(example[1], "README.md", "exec"), {"__name__": "example"})
    assert "recall/12" in capsys.readouterr().out
