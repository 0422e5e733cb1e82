"""The demo's page: masks before and after, and what each compression gave."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sparse_ovs.profiling.html import STYLE

_MORE_STYLE = "figure { display: inline-block; margin: 0 1em 1em 0; } img { max-width: 32em; }"


def demo_page(
    lines: Sequence[str], pictures: Sequence[tuple[str, str]], tried: Sequence[str]
) -> str:
    """HTML.

    Args:
        lines: what to say first.
        pictures: (name of a file beside the page, caption).
        tried: a line for each compression.
    """
    figures = "".join(
        f'<figure><img src="{escape(name)}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for name, caption in pictures
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>sparse_ovs demo</title><style>{STYLE}{_MORE_STYLE}</style></head><body>"
        "<h1>An encoder, compressed as far as does no harm</h1>"
        + "".join(f"<p>{escape(line)}</p>" for line in lines)
        + figures
        + "<h2>What was tried</h2><ul>"
        + "".join(f"<li>{escape(line)}</li>" for line in tried)
        + '</ul><p>The layers of the one that was taken: <a href="encoder/report.html">report</a>.'
        "</p></body></html>\n"
    )
