"""The report of a run or experiment: report.html (one file), report.md, figures and
summary.json."""

from collections.abc import Sequence
from pathlib import Path

COMPARISON = "comparison"
"""Folder of the report of several folders, beside the first of them."""


def report(folder: str | Path | Sequence[str | Path], output: str | Path | None = None) -> Path:
    """Write the report of a run folder or experiment folder, or of several runs side by side.

    The report consists of report.html, which is complete in itself, report.md, summary.json (means
    by variant and position, null where a seed is missing), and as far as there is something to
    show success.png or tasks.png, return.png, heat-map.png, conditional.png, target-return.png,
    recorded.png and training.png. Films that lie in the folders of the runs
    (`rate evaluate RUN --video RUN/films`) are shown, too.

    Args:
        folder: A run folder, an experiment folder, or a folder with runs in it; several are
            compared, and runs that differ in the seed alone are one variant.
        output: The folder to write to, by default `folder` itself; for several, the folder
            comparison beside the first.

    Returns:
        The path of report.html.

    Raises:
        ReportError: the folder is missing, neither of the two, or damaged.
    """
    # Imported here: drawing takes a second to load, and the facts of a page need none of it.
    from rate.files import atomic_write
    from rate.reporting import render
    from rate.reporting.comparison import compare
    from rate.reporting.episodes import read_episodes, shown_runs
    from rate.reporting.load import ReportError, is_reported, place, read_evidence
    from rate.reporting.recorded import parts as recorded_parts
    from rate.reporting.results import draw, measure
    from rate.reporting.sections import inspected_runs, inspections, sections
    from rate.reporting.verdict import verdict
    from rate.runs.folder import Run

    folders = [Path(folder)] if isinstance(folder, str | Path) else list(map(Path, folder))
    if not folders:
        raise ReportError("name a run folder or an experiment folder to report on")
    alone = folders[0] if len(folders) == 1 and is_reported(folders[0]) else None
    evidence = read_evidence(alone) if alone else compare(folders)
    results = measure(evidence, folders[0])
    looked_into = inspected_runs(alone, evidence.facts) if alone else {}
    inspected, pictures = inspections(looked_into)
    shown = shown_runs(folders, evidence.facts)
    recorded, own = recorded_parts({name: Run(path) for name, path in shown.items()})
    drawn = draw(evidence, results) | pictures | own
    parts = sections(evidence, results, drawn, inspected=[*recorded, *inspected])
    episodes = read_episodes(folders, evidence.facts)
    said = verdict(evidence.facts, results.summaries, results.differences)
    page = render.html(evidence, parts, drawn, said, episodes)
    beside = folders[0].resolve().parent / COMPARISON
    output = Path(output or (folders[0] if len(folders) == 1 else beside))
    output.mkdir(parents=True, exist_ok=True)
    for name, picture in drawn.items():
        png = picture if isinstance(picture, bytes) else picture.png()
        atomic_write(place(output, name), png)
    atomic_write(output / "summary.json", results.to_json())
    atomic_write(output / "report.md", render.markdown(evidence.facts, parts))
    atomic_write(output / "report.html", page)
    return output / "report.html"
