"""What self-contained HTML pages have in common: their frame, their style, figures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p.machine { color: #777; }
table { border-collapse: collapse; width: 100%; font-size: .87rem; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child, td.text { text-align: left; }
td.bars { width: 30%; }
.bar { height: .55rem; border-radius: 2px; margin: 2px 0; }
.dense { background: #9aa5b1; } .sparse { background: #1b8a5a; }
figure { margin: 1rem 0; } img { max-width: 100%; } figcaption { color: #777; }
"""


def whole_page(title: str, body: str, style: str = "") -> str:
    """A page.

    Args:
        title: plain text, of the window.
        body: HTML.
        style: CSS beyond what all pages have.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}{style}</style></head><body>"
        f"{body}</body></html>\n"
    )


def figures(pictures: Sequence[tuple[str, str]]) -> str:
    """HTML of pictures with captions.

    Args:
        pictures: (name of a file beside the page, caption).
    """
    return "".join(
        f'<figure><img src="{escape(name)}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for name, caption in pictures
    )
