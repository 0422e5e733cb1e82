"""Writes a directive for each public name into the reference's pages while the website is built."""

from __future__ import annotations

import importlib
import re
from importlib.util import find_spec
from typing import Any

_MARKER = re.compile(r"^<!-- names of ([\w.]+)(?: without ([\w ]+))? -->$", re.MULTILINE)


def identifiers(package: str, without: tuple[str, ...] = ()) -> list[str]:
    """Where the documentation of each name in a package's `__all__` is found.

    Args:
        package: such as "sparse_ovs.nn".
        without: names to leave out.

    Returns:
        `package.name`, or the path of the definition where a module has the name too, on the way
        there: only Python knows that the function is meant.
    """
    module = importlib.import_module(package)
    found = []
    for name in module.__all__:
        if name not in without:
            path = f"{package}.{name}"
            home = getattr(getattr(module, name), "__module__", "")
            if home.endswith(f".{name}") or find_spec(path) is not None:
                path = f"{home}.{name}"
            found.append(path)
    return found


def expand(markdown: str) -> str:
    """The page with a mkdocstrings directive for each name of the packages that it marks."""

    def replace(found: re.Match[str]) -> str:
        without = tuple((found.group(2) or "").split())
        return "\n\n".join(f"::: {path}" for path in identifiers(found.group(1), without))

    return _MARKER.sub(replace, markdown)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return expand(markdown) if page.file.src_uri.startswith("api/") else markdown
