"""The sections of a report as Markdown and as one HTML page."""

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from rate.reporting import html as page
from rate.reporting.load import Evidence, Facts
from rate.reporting.sections import Part
from rate.reporting.tables import markdown_code, markdown_text


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


def html(evidence: Evidence, parts: Sequence[Part], pictures: Mapping[str, bytes]) -> str:
    """The report as one HTML document, with figures and recipes inside."""
    facts = evidence.facts
    title = facts.title or facts.name
    body = [page.heading(title, 1)]
    body.append(page.paragraph(facts.shared, "faint"))
    body.append(page.paragraph(f"Claim: {facts.claim}" if facts.claim else "", "claim"))
    body.append(page.paragraph(f"Source: {facts.source}" if facts.source else "", "faint"))
    body.append(page.paragraph(f"Size: {facts.size}" if facts.size else "", "faint"))
    for part in parts:
        content = page.paragraph(part.text, "faint")
        for warning in part.warnings:
            content += page.paragraph(f"Incomplete: {warning}.", "warning")
        content += page.picture(pictures[part.figure], part.caption) if part.figure else ""
        content += part.table.html() if part.table else ""
        content += "".join(page.picture(pictures[file], caption) for file, caption in part.further)
        content += page.code(part.code) if part.code else ""
        body.append(
            page.details(part.title, content) if part.folded else page.heading(part.title) + content
        )
    for name, recipe in {f"Recipe of {run.variant}": run.recipe for run in evidence.runs}.items():
        body.append(page.details(name, page.code(json.dumps(recipe, indent=2))))
    return page.page(title, body)
