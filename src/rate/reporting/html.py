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
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
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


def picture(content: bytes, caption: str, kind: str = "png") -> str:
    """A picture inside the page, whose caption is its alternative text, too.

    Args:
        content: The file.
        caption: What it shows.
        kind: Its format: png or webp.
    """
    text = html.escape(caption)
    image = f'<img alt="{text}" src="{_data(f"image/{kind}", content)}">'
    return f'<figure class="{kind}">{image}\n<figcaption>{text}</figcaption></figure>\n'


def chart(wide: str, narrow: str, caption: str) -> str:
    """A figure as SVG, drawn twice: for a screen and for a phone.

    Args:
        wide: An SVG element.
        narrow: The same for a narrow page.
        caption: Its text, which is escaped here.
    """
    text = html.escape(caption)
    drawn = "".join(
        f'<div class="{kind}" role="img" aria-label="{text}">{svg}</div>\n'
        for kind, svg in (("wide", wide), ("narrow", narrow))
    )
    return f'<figure class="chart">{drawn}<figcaption>{text}</figcaption></figure>\n'


def film(mp4: bytes, caption: str) -> str:
    """A video inside the page, which plays when it is asked to."""
    text, source = html.escape(caption), _data("video/mp4", mp4)
    video = f'<video controls loop muted playsinline preload="metadata" src="{source}"></video>'
    return f'<figure class="film">{video}\n<figcaption>{text}</figcaption></figure>\n'


def numbers(pairs: Sequence[tuple[str, str]], sentence: str) -> str:
    """A few numbers in large type, each above what it is, and a sentence.

    Args:
        pairs: Numbers and what they are.
        sentence: What follows from them.
    """
    large = "".join(
        f"<div><strong>{html.escape(number)}</strong><span>{html.escape(text)}</span></div>\n"
        for number, text in pairs
    )
    inside = f'<div class="numbers">{large}</div>{paragraph(sentence)}'
    return f'<section class="verdict">{inside}</section>\n'


def group(kind: str, content: str) -> str:
    """HTML in an element of a class of the style."""
    return f'<div class="{kind}">{content}</div>\n'


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def details(title: str, content: str) -> str:
    """HTML that is hidden until asked for."""
    return f"<details><summary>{html.escape(title)}</summary>\n{content}</details>\n"
