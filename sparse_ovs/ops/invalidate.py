"""Forgets what was packed, for writes that torch does not count."""

from __future__ import annotations

from torch import Tensor

from sparse_ovs.ops.cuda.layer import gpu_layer
from sparse_ovs.ops.streams import streams_of


def invalidate(indices: Tensor) -> None:
    """Makes the next call of a packed structure's layer read its weights again, where writes
    bypassed the version counters (.data)."""
    streams_of(indices).forget()
    gpu_layer(indices).forget()
