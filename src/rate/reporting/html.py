"""One HTML page that is complete in itself: style, tables and pictures in a single file."""

import base64
import html
from collections.abc import Sequence

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1f2328; --faint: #5c6570; --ground: #ffffff; --soft: #f5f6f8; --line: #d9dde2;
  --warn: #b54708;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e7eb; --faint: #9aa4b0; --ground: #14171b; --soft: #1d2127; --line: #343a42;
    --warn: #f5a35c;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif;
}
main { max-width: 880px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 {
  font-size: 1.15rem; margin: 2.6rem 0 .8rem; padding-top: .9rem;
  border-top: 1px solid var(--line);
}
p { margin: .5rem 0; max-width: 72ch; }
p.claim { font-size: 1.1rem; }
p.faint, figcaption { color: var(--faint); font-size: .9rem; }
p.warning { border-left: 3px solid var(--warn); padding-left: .8rem; color: var(--warn); }
figure { margin: 1.4rem 0; }
figure img {
  display: block; width: 100%; height: auto; padding: 10px;
  background: #ffffff; border: 1px solid var(--line); border-radius: 8px;
}
figcaption { margin-top: .5rem; max-width: 80ch; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td {
  padding: .32rem .9rem .32rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line);
}
th { color: var(--faint); font-weight: 600; white-space: nowrap; }
th.number, td.number { text-align: right; white-space: nowrap; }
pre {
  padding: .8rem 1rem; overflow-x: auto; font-size: .87rem;
  background: var(--soft); border: 1px solid var(--line); border-radius: 8px;
}
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--faint); }
@media print { main { max-width: none; padding: 0; } details > * { display: revert; } }
"""


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
