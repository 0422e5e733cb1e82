"""The bytes that a compiled encoder holds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import torch.utils._pytree as pytree
from torch import Tensor, nn

from sparse_ovs.engine.graph import Graph


@dataclass(frozen=True)
class EncoderMemory:
    """Bytes by what they are for.

    Attributes:
        packed_bytes: compact copies of the native steps' weights, of which every plan is made, with
            biases and scales; with release_dense, copies only of those that run dense in fp32.
        stream_bytes: weights in the order and with the offsets that kernels read, shared by plans
            that lay them out alike; all live plans together.
        dense_bytes: dense tensors of the model and its graph: none of a native step after
            release_dense.
        arena_bytes: of activations during one run, by the input shape of each live plan.
    """

    packed_bytes: int
    stream_bytes: int
    dense_bytes: int
    arena_bytes: dict[tuple[int, ...], int]


def bytes_of(model: nn.Module | None, graph: Graph) -> int:
    """Bytes of the tensors of both, memory that they share counted once."""
    own = [] if model is None else list(chain(model.parameters(), model.buffers()))
    found = own + pytree.tree_leaves([vars(node) for node in graph.nodes])
    storages = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
        for value in found
        if isinstance(value, Tensor) and not value.is_meta
    }
    return sum(storages.values())
