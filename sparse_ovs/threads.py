"""How many threads the native kernels use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sparse_ovs._after_import import import_what_waits

_VARIABLE = "SPARSE_OVS_NUM_THREADS"
_chosen: int | None = None


def set_num_threads(count: int | None) -> None:
    """Sets the thread count of the native kernels; None follows the environment or torch again.

    Raises:
        ValueError: count is not a positive integer.
    """
    global _chosen
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise ValueError(f"expected a thread count of at least 1, got {count!r}")
    _chosen = count


def get_num_threads() -> int:
    """What set_num_threads was given, else SPARSE_OVS_NUM_THREADS, else torch.get_num_threads().

    Raises:
        ValueError: the environment variable is not a positive integer.
    """
    if _chosen is not None:
        return _chosen
    named = os.environ.get(_VARIABLE)
    if named is None:
        return torch.get_num_threads()
    if not named.isdecimal() or int(named) < 1:
        raise ValueError(f"expected {_VARIABLE} to be a positive integer, got {named!r}")
    return int(named)


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """torch runs on so many threads inside; None changes nothing."""
    before: int = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


import_what_waits(__name__)
