"""Links to files outside docs/, which the code host follows, as links to it or plain text."""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)")


def rewrite(markdown: str, page: str, repository: str | None) -> str:
    """Takes links that leave docs/ out of a page.

    Args:
        markdown: of the page.
        page: its path in docs/, such as "gpu.md".
        repository: address under which the repository's files are shown; None: no links.

    Returns:
        The page with such links replaced by links under `repository`, or by their text.
    """

    def replace(found: re.Match[str]) -> str:
        text, target, anchor = found.groups()
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
        if path.startswith("docs/"):
            return found.group(0)
        if repository is None:
            return f"`{path}`" if path in text else f"{text} (`{path}`)"
        return f"[{text}]({repository.rstrip('/')}/{path}{anchor or ''})"

    return _LINK.sub(replace, markdown)


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Called by mkdocs for each page; `repo_url` of mkdocs.yml says where the repository is."""
    url = config.repo_url
    return rewrite(markdown, page.file.src_uri, f"{url.rstrip('/')}/blob/main" if url else None)
