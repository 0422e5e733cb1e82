"""Digests of code: comments, docstrings and layout are no part of it."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable


def digest(texts: Iterable[str]) -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def python_code(text: str) -> str:
    """A Python file's code: without comments, docstrings and layout."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [n for n in body if not _is_text(n)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def c_code(text: str) -> str:
    """The code of a file in C++ or CUDA: without comments and layout."""
    return " ".join(re.sub(r"//[^\n]*", "", text).split())
