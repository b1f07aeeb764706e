"""The sections of a report as Markdown and as one HTML page."""

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from rate.reporting import html as page
from rate.reporting.episodes import TYPICAL, Episode, by_variant
from rate.reporting.load import Evidence, Facts
from rate.reporting.sections import Part
from rate.reporting.style import Drawing
from rate.reporting.tables import markdown_code, markdown_text
from rate.reporting.verdict import Verdict


def markdown(facts: Facts, parts: Sequence[Part], prefix: str = "") -> str:
    """The report in Markdown.

    Args:
        facts: Title, claim and source.
        parts: The sections.
        prefix: Stands before the names of the figures' files.
    """

    def picture(file: str, caption: str) -> str:
        return f"![{markdown_text(caption)}]({quote(prefix + file)})"

    blocks = [f"# {markdown_text(facts.title or facts.name)}"]
    lines = [("Policies", facts.shared), ("Claim", facts.claim), ("Source", facts.source)]
    lines.append(("Size", facts.size))
    for name, text in lines:
        blocks.append(f"{name}: {markdown_text(text)}" if text else "")
    for part in parts:
        blocks += [f"## {markdown_text(part.title)}", markdown_text(part.text)]
        blocks += [f"**Incomplete:** {markdown_text(warning)}." for warning in part.warnings]
        blocks.append(picture(part.figure, part.caption) if part.figure else "")
        blocks.append(part.table.markdown().rstrip() if part.table else "")
        blocks += [picture(*figure) for figure in part.further]
        blocks.append(markdown_code(part.code))
    return "\n\n".join(block for block in blocks if block) + "\n"


def html(
    evidence: Evidence,
    parts: Sequence[Part],
    pictures: Mapping[str, bytes | Drawing],
    said: Verdict | None = None,
    episodes: Sequence[Episode] = (),
) -> str:
    """The report as one HTML document, with figures, videos and recipes inside.

    Args:
        evidence: What the report is made from.
        parts: The sections.
        pictures: PNG or drawings by file name.
        said: What the page says first.
        episodes: Episodes with their films.
    """
    facts = evidence.facts
    title = facts.title or facts.name
    body = [page.heading(title, 1)]
    body.append(page.paragraph(facts.shared, "faint"))
    body.append(page.paragraph(f"Claim: {facts.claim}" if facts.claim else "", "claim"))
    body.append(page.numbers(*said) if said else "")
    if episodes:
        first = next((one for one in episodes if one.film.which == TYPICAL), episodes[0])
        caption = f"{first.film.task}: {first.variant}. {first.caption}."
        body.append(page.picture(first.strip, caption, "webp"))
    body.append(page.paragraph(f"Source: {facts.source}" if facts.source else "", "faint"))
    body.append(page.paragraph(f"Size: {facts.size}" if facts.size else "", "faint"))
    for number, part in enumerate(parts):
        content = page.paragraph(part.text, "faint")
        for warning in part.warnings:
            content += page.paragraph(f"Incomplete: {warning}.", "warning")
        content += _figure(pictures, part.figure, part.caption) if part.figure else ""
        content += part.table.html() if part.table else ""
        content += "".join(_figure(pictures, *figure) for figure in part.further)
        content += page.code(part.code) if part.code else ""
        body.append(
            page.details(part.title, content) if part.folded else page.heading(part.title) + content
        )
        if number == 0 and episodes:
            body.append(_films(episodes))
    for name, recipe in {f"Recipe of {run.variant}": run.recipe for run in evidence.runs}.items():
        body.append(page.details(name, page.code(json.dumps(recipe, indent=2))))
    return page.page(title, body)


def _figure(pictures: Mapping[str, bytes | Drawing], file: str, caption: str) -> str:
    drawn = pictures[file]
    if isinstance(drawn, bytes):
        return page.picture(drawn, caption)
    return page.chart(drawn.svg(file), drawn.svg(file, narrow=True), caption)


def _films(episodes: Sequence[Episode]) -> str:
    """The best, the typical and the worst episode of each variant."""
    content = page.heading("Episodes")
    text = "Below the picture: step, return, what the environment reports, and the policy's memory."
    content += page.paragraph(text, "faint")
    for (variant, task), own in by_variant(episodes).items():
        content += page.heading(f"{variant} in {task}", 3)
        shown = ""
        for one in own:
            caption = f"{one.caption}."
            if one.video is None:
                caption += f" Video: {one.address}."
                shown += page.picture(one.strip, caption, "webp")
            else:
                shown += page.film(one.video, caption)
        content += page.group("films", shown)
    return content
