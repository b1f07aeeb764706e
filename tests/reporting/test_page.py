"""What a page says first, its figures and films, and how it looks in a browser."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rate
from rate.acting.films import film_run
from rate.cli import main
from rate.reporting import report
from rate.reporting.load import Facts, ReportError
from rate.reporting.statistics import Difference, Summary
from rate.reporting.style import COLOURS, STYLE, VARIABLES
from rate.reporting.verdict import verdict
from rate.runs.folder import Run

CSS = (Path(rate.__file__).parent / "reporting" / "style.css").read_text(encoding="utf-8")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


def summary(
    variant: str, mean: float, x: float | None = 90, half: float = 0.05, held: int | None = None
) -> Summary:
    """Scores of a variant with an interval of twice `half`."""
    interval = mean - half, mean + half
    task = f"tmaze/{x:.0f}" if x else "popgym/A"
    rest = 0.01, interval, mean, interval, held, (0, 1), (), 200, 1.0
    return Summary(variant, task, "last", "success", x, mean, *rest)


# The verdict


def test_the_verdict_is_about_the_first_variant_where_the_task_is_largest():
    facts = Facts(order=("rate", "dt", "lstm"), axis="length T", training_length=30)
    scores = [summary("dt", 0.9, 30), summary("rate", 0.8, 30), summary("rate", 0.97, 900)]
    scores += [summary("lstm", 0.7, 900), summary("dt", 0.5, 900)]
    compared = [
        Difference(name, "rate", "tmaze/900", mean, (mean - 0.1, mean + 0.1))
        for name, mean in (("dt", -0.47), ("lstm", -0.27))
    ]
    said = verdict(facts, scores, compared)
    assert said.numbers == [
        ("0.97", "rate, success at length T 900"),
        ("0.70", "lstm, best of 2 others"),
        ("30×", "the training length of 30"),
    ]
    assert said.sentence == (
        "rate has the success 0.97 (95 % interval 0.92 to 1.02) at length T 900; lstm, best of 2 "
        "others, 0.70 (95 % interval 0.65 to 0.75). The difference is 0.27 (95 % interval 0.17 to "
        "0.37)."
    )


def test_a_verdict_says_what_is_not_shown():
    facts = Facts(order=("rate", "dt"))
    scores = [summary("rate", 0.52, None), summary("dt", 0.5, None)]
    said = verdict(facts, scores, [Difference("dt", "rate", "popgym/A", -0.02, (-0.1, 0.06))])
    assert said.numbers[2] == ("200", "episodes, 2 seeds")
    assert said.sentence.endswith(
        "The difference is 0.02 (95 % interval -0.06 to 0.10), which holds 0: no difference is "
        "shown."
    )
    unknown = Difference("dt", "rate", "popgym/A", -0.02, (np.nan, np.nan))
    assert "difference" not in verdict(facts, scores, [unknown]).sentence
    held = verdict(facts, [summary("rate", 0.9, held=1)])
    assert held.numbers[-1] == ("1 of 2", "seeds of rate hold (95 % interval 0.01 to 0.99)")
    assert len(verdict(facts, [summary("dt", 0.5)]).numbers) == 2
    assert verdict(facts, []) is None


def test_without_positions_the_verdict_is_about_all_tasks():
    scores = [
        replace(summary(name, mean, None), task=f"popgym/{task}")
        for name, means in {"rate": (0.5, 0.7, -0.004), "dt": (0.1, 0.9, 0.0), "mlp": (1,)}.items()
        for task, mean in zip("ABC", means, strict=False)
    ]
    compared = [
        Difference("dt", "rate", f"popgym/{task}", mean, (mean - 0.1, mean + 0.1))
        for task, mean in (("A", -0.4), ("B", 0.2), ("C", 0.0))
    ]
    said = verdict(Facts(order=("rate", "dt")), scores, compared)
    assert said.numbers == [
        ("0.40", "rate, mean success over 3 tasks"),
        ("0.33", "dt"),
        ("1 : 1", "tasks in which rate is ahead, or behind"),
    ]
    assert said.sentence == (
        "Over 3 tasks rate has the mean success 0.40; dt, 0.33. rate is ahead of dt in 1 tasks and "
        "behind in 1; in the other 1 the 95 % interval of the difference holds 0."
    )


# Figures


def test_every_colour_of_a_figure_is_one_of_the_page_in_light_and_in_dark():
    light, dark = CSS.split("@media (prefers-color-scheme: dark)")
    for name in VARIABLES.values():
        assert f"--{name}:" in light
        assert f"--{name}:" in dark.split("* {")[0]
    assert STYLE["text.color"].lower() in VARIABLES
    assert {colour.lower() for colour in COLOURS} <= VARIABLES.keys()


def luminance(colour: str) -> float:
    """Relative luminance of a colour such as #ff0000 (WCAG 2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", [0, 1])
def test_lines_and_text_stand_out_from_the_ground(scheme):
    text = CSS.split("@media (prefers-color-scheme: dark)")[scheme].split("* {")[0]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", text))
    ground = luminance(colours["ground"])
    for name, least in [("ink", 7), ("faint", 4.5), ("warn", 4.5)] + [
        (f"colour-{number}", 3) for number in range(len(COLOURS))
    ]:
        lights = sorted((ground, luminance(colours[name])))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= least, name


@pytest.fixture(scope="module")
def scored(trained, tmp_path_factory) -> Path:
    """A run with scores and films."""
    run = tmp_path_factory.mktemp("page") / "run"
    shutil.copytree(trained, run)
    rate.evaluate(run, ["recall/12", "recall/24"], episodes=8)
    films = film_run(Run(run))
    assert {film.task for film in films} == {"recall/24"}
    assert film_run(Run(run)) == []  # they are there already
    report(run)
    return run


def test_a_page_shows_films_and_figures(scored):
    html = (scored / "report.html").read_text()
    films = json.loads((scored / "films" / "films.json").read_text())
    assert html.count('src="data:video/mp4;base64,') == len(films) >= 1
    assert html.count('src="data:image/webp;base64,') == 1
    assert "Typical of 8 episodes: success" in html
    assert '<section class="verdict">' in html
    svgs = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(svgs) == 6  # scores, cues and training, each wide and narrow
    assert not [colour for svg in svgs for colour in VARIABLES if colour in svg.lower()]
    names = re.findall(r' id="([^"]+)"', html)
    assert len(names) == len(set(names))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', html))
    assert used == set(names)


def test_what_is_no_video_or_picture_is_not_put_into_a_page(scored, tmp_path):
    run = tmp_path / "run"
    for pattern in ("*.mp4", "*.webp"):
        shutil.copytree(scored, run, dirs_exist_ok=True)
        for path in (run / "films").glob(pattern):
            path.write_bytes(b"<script>alert(1)</script>")
        with pytest.raises(ReportError, match=r"films/.* is no "):
            report(run)


def test_films_are_made_by_the_command_and_can_be_left_out(trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    rate.evaluate(run, ["recall/12"], episodes=2)
    assert main(["report", str(run), "--no-films"]) == 0
    assert not (run / "films").exists()
    assert main(["report", str(run)]) == 0
    assert "data:video/mp4" in (run / "report.html").read_text()
    capsys.readouterr()


# In a browser


def screenshot(page: Path, width: int, dark: bool, output: Path) -> np.ndarray:
    """The page as a browser shows it, uint8 [height, width, 3]."""
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if dark else []
    command += [f"--user-data-dir={output.parent / 'profile'}", f"--screenshot={output}"]
    command += [f"--window-size={width},2400", page.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return np.asarray(Image.open(output).convert("RGB"))


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="there is no Chromium: apt-get install chromium")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_a_page_fits_the_window_and_follows_its_colours(scored, tmp_path, width, dark):
    shot = screenshot(scored / "report.html", width, dark, tmp_path / "page.png")
    ground = np.array((0x14, 0x17, 0x1B) if dark else (255, 255, 255))
    assert shot.shape[1] == width
    # The margins are empty: nothing is wider than the page.
    margin = 12
    assert (shot[:, :margin] == ground).all()
    assert (shot[:, -margin:] == ground).all()
    # Text and figures stand out from the ground.
    assert (np.abs(shot.astype(int) - ground).sum(-1) > 300).mean() > 0.01


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="there is no Chromium: apt-get install chromium")
@pytest.mark.parametrize("width", [1200, 400])
def test_text_of_figures_is_legible(scored, tmp_path, width):
    """A script that is put into a copy of the page measures what the browser makes of it, in a
    frame, for windows have a least width."""
    script = """<script>addEventListener("load", () => {
      const boxes = [...document.querySelectorAll(".chart text")].map(
        (text) => text.getBoundingClientRect()).filter((box) => box.height);
      parent.postMessage({count: boxes.length, window: innerWidth,
        smallest: Math.min(...boxes.map((box) => Math.min(box.height, box.width))),
        width: document.documentElement.scrollWidth}, "*");
    });</script>"""
    html = (scored / "report.html").read_text()
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    (tmp_path / "page.html").write_text(html.replace("</body>", f"{script}</body>"))
    frame = tmp_path / "frame.html"
    frame.write_text(
        """<script>addEventListener("message", (sent) => {
          document.body.innerHTML = `<pre id="seen">${JSON.stringify(sent.data)}</pre>`; });
        </script><body>"""
        f'<iframe src="page.html" width="{width}" height="2400" style="border: 0"></iframe>'
    )
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000"]
    command += [f"--window-size={width + 100},2600", frame.resolve().as_uri()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    seen = json.loads(re.search(r'<pre id="seen">({.*?)</pre>', done.stdout)[1])
    assert seen["count"] >= 10
    assert seen["smallest"] >= 8
    assert seen["width"] <= seen["window"] == width
