"""The report of a run or experiment: report.html (one file), report.md, figures and
summary.json."""

from pathlib import Path


def report(folder: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a run folder or experiment folder.

    The report consists of report.html, which is complete in itself, report.md, summary.json (means
    by variant and position, null where a seed is missing), and as far as there is something to
    show success.png or tasks.png, return.png, heat-map.png, conditional.png and training.png.

    Args:
        folder: A run folder or an experiment folder.
        output: The folder to write to, by default `folder` itself.

    Returns:
        The path of report.html.

    Raises:
        ReportError: the folder is missing, neither of the two, or damaged.
    """
    # Imported here: drawing takes a second to load, and the facts of a page need none of it.
    from rate.files import atomic_write
    from rate.reporting import render
    from rate.reporting.load import place, read_evidence
    from rate.reporting.results import draw, measure
    from rate.reporting.sections import inspected_runs, inspections, sections

    evidence = read_evidence(folder)
    results = measure(evidence, Path(folder))
    inspected, pictures = inspections(inspected_runs(Path(folder), evidence.facts))
    pictures = draw(evidence, results) | pictures
    parts = sections(evidence, results, pictures, inspected=inspected)
    output = Path(output or folder)
    output.mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        atomic_write(place(output, name), png)
    atomic_write(output / "summary.json", results.to_json())
    atomic_write(output / "report.md", render.markdown(evidence.facts, parts))
    atomic_write(output / "report.html", render.html(evidence, parts, pictures))
    return output / "report.html"
