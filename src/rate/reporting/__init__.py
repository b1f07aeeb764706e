"""The report of a run or experiment: report.html (one file), report.md, figures and
summary.json."""

from collections.abc import Sequence
from pathlib import Path

COMPARISON = "comparison"
"""Folder of the report of several folders, beside the first of them."""


def report(
    folder: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    interactive: bool = False,
) -> Path:
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
        interactive: Also write interactive.html, whose figures can be pointed at, zoomed into and
            filtered; it has scripts, and needs no network.

    Returns:
        The path of report.html.

    Raises:
        ReportError: the folder is missing, neither of the two, or damaged.
        ModuleNotFoundError: the package of the extra "interactive" is not installed.
    """
    # Imported here: drawing takes a second to load, and the facts of a page need none of it.
    from rate.reporting.load import ReportError

    folders = [Path(folder)] if isinstance(folder, str | Path) else list(map(Path, folder))
    if not folders:
        raise ReportError("name a run folder or an experiment folder to report on")
    beside = folders[0].resolve().parent / COMPARISON
    output = Path(output or (folders[0] if len(folders) == 1 else beside))
    _write(folders, output, interactive)
    return output / "report.html"


def _write(folders: Sequence[Path], output: Path, interactive: bool) -> None:
    """Write the report of some folders to another one."""
    from rate.reporting import render
    from rate.reporting.comparison import compare
    from rate.reporting.episodes import read_episodes, shown_runs
    from rate.reporting.interactive import FILE
    from rate.reporting.interactive import page as interactive_page
    from rate.reporting.load import is_reported, place, read_evidence
    from rate.reporting.recorded import parts as recorded_parts
    from rate.reporting.results import draw, measure
    from rate.reporting.sections import inspected_runs, inspections, sections
    from rate.reporting.verdict import verdict
    from rate.runs.folder import Run
    from rate.storage.files import atomic_write

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
    further = {FILE: interactive_page(evidence, results)} if interactive else {}
    output.mkdir(parents=True, exist_ok=True)
    for name, picture in drawn.items():
        png = picture if isinstance(picture, bytes) else picture.png()
        atomic_write(place(output, name), png)
    further |= {"summary.json": results.to_json()}
    further |= {"report.md": render.markdown(evidence.facts, parts), "report.html": page}
    for name, text in further.items():
        atomic_write(output / name, text)
