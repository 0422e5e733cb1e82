"""Hooks that stay no longer than the block that needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch.utils.hooks import RemovableHandle


@contextmanager
def hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Removes the hooks in the end, whatever happens inside."""
    kept = list(handles)
    try:
        yield
    finally:
        for handle in kept:
            handle.remove()
