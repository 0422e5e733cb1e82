"""Packed weights of a graph's convolutions, made once for all input sizes."""

from __future__ import annotations

import torch

from sparse_ovs import _native
from sparse_ovs.engine.graph import Conv
from sparse_ovs.formats import pack


class NativeConvWeights:
    """The library's copy of each convolution's weights, packed at its first use."""

    def __init__(self) -> None:
        self._made: dict[str, _native.NativeWeights] = {}

    def __getitem__(self, conv: Conv) -> _native.NativeWeights:
        if conv.name not in self._made:
            self._made[conv.name] = _pack(conv)
        return self._made[conv.name]

    def nbytes(self) -> int:
        """Bytes that the library holds: compact copies, and the streams of all live plans."""
        return sum(weights.nbytes() for weights in self._made.values())


def _pack(conv: Conv) -> _native.NativeWeights:
    weight = conv.weight.contiguous()
    bias = None if conv.bias is None else conv.bias.contiguous()
    bias_at = None if bias is None else bias.data_ptr()
    rows_of_a_group = weight.shape[0] // conv.groups
    if bool((weight != 0).all()):
        shape = (weight.shape[0], weight.shape[1], weight.shape[2], weight.shape[3])
        return _native.NativeWeights.dense(shape, conv.groups, weight.data_ptr(), bias_at)
    # Rows of a block must not straddle two groups.
    single = conv.groups > 1 and rows_of_a_group % 4 != 0
    packed = pack(weight, None, 1 if single else None)
    indices = packed.indices
    if indices.dtype == torch.uint16:
        indices = indices.view(torch.int16)
    return _native.NativeWeights(
        (weight.shape[0], weight.shape[1], weight.shape[2], weight.shape[3]),
        conv.groups,
        packed.block_rows,
        packed.row_ptr.data_ptr(),
        indices.data_ptr(),
        8 * indices.element_size(),
        packed.values.data_ptr(),
        bias_at,
    )
