"""The demo's page: masks before and after, and what each compression gave."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sparse_ovs.profiling.page import figures, whole_page

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
    return whole_page(
        "sparse_ovs demo",
        "<h1>An encoder, compressed as far as does no harm</h1>"
        + "".join(f"<p>{escape(line)}</p>" for line in lines)
        + figures(pictures)
        + "<h2>What was tried</h2><ul>"
        + "".join(f"<li>{escape(line)}</li>" for line in tried)
        + '</ul><p>The layers of the one that was taken: <a href="encoder/report.html">report</a>.'
        "</p>",
        _MORE_STYLE,
    )
