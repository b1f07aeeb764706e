"""One HTML page that is complete in itself: style, tables and pictures in a single file."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

STYLE = "\n" + Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def page(title: str, body: Sequence[str]) -> str:
    """The whole document.

    Args:
        title: Text of the title, which is escaped here.
        body: HTML.
    """
    # The policy lets no script run and no address be fetched, should anything ever slip through the
    # escaping.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "".join(body)
        + "</main>\n</body>\n</html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{html.escape(text)}</h{level}>\n"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; nothing for an empty text.

    Args:
        text: Its text, which is escaped here.
        kind: A class of the style: claim, faint or warning.
    """
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{html.escape(text)}</p>\n" if text else ""


def code(text: str) -> str:
    """A block of code or JSON."""
    return f"<pre><code>{html.escape(text)}</code></pre>\n"


def link(address: str, text: str) -> str:
    """A link to a neighbouring file."""
    return f'<p><a href="{html.escape(address, quote=True)}">{html.escape(text)}</a></p>\n'


def picture(png: bytes, caption: str) -> str:
    """A PNG inside the page, whose caption is its alternative text, too."""
    source = base64.b64encode(png).decode("ascii")
    text = html.escape(caption)
    image = f'<img alt="{text}" src="data:image/png;base64,{source}">'
    return f"<figure>{image}\n<figcaption>{text}</figcaption></figure>\n"


def details(title: str, content: str) -> str:
    """HTML that is hidden until asked for."""
    return f"<details><summary>{html.escape(title)}</summary>\n{content}</details>\n"
