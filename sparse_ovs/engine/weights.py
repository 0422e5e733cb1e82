"""Packed weights of a graph's convolutions, made once for all input sizes."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.engine.graph import Conv
from sparse_ovs.formats import PackedWeight, pack

_LEAST = -127  # of s8 weights, whose scales are symmetric
# Above these densities, by rows that share their columns, all s8 weights are multiplied, zeros too.
_DENSEST_INT8 = {1: 0.45, 2: 0.5, 4: 0.6}


class NativeConvWeights:
    """The library's copy of each convolution's weights, packed at its first use.

    Args:
        held_once: memory comes first: no copy beside the one that plans read, which all share.
    """

    def __init__(self, held_once: bool = False) -> None:
        self._held_once = held_once
        self._made: dict[str, _native.NativeWeights] = {}

    def __getitem__(self, conv: Conv) -> _native.NativeWeights:
        if conv.name not in self._made:
            made = _pack(conv)
            if self._held_once:
                made.hold_once()
            self._made[conv.name] = made
        return self._made[conv.name]

    def holds(self, conv: Conv) -> bool:
        """The library has taken the weights."""
        return conv.name in self._made

    def make_dense(self, conv: Conv) -> None:
        """Zeros are multiplied from now on, by the library's dense kernels."""
        self._made[conv.name] = pack_dense(conv)

    def is_dense(self, conv: Conv) -> bool:
        """Whether all weights are multiplied, zeros included."""
        return self[conv].block_rows is None

    def dense(self, conv: Conv) -> Tensor:
        """The dense weight, unpacked where the graph has released it."""
        if not conv.weight.is_meta:
            return conv.weight
        weight = torch.empty(conv.weight.shape)
        self[conv].unpack(weight.data_ptr())
        return weight

    def packed_nbytes(self) -> int:
        """Bytes of the compact copies alone."""
        return sum(weights.packed_nbytes() for weights in self._made.values())

    def nbytes(self) -> int:
        """Bytes that the library holds: compact copies, and the streams of all live plans."""
        return sum(weights.nbytes() for weights in self._made.values())


def stored_weight(conv: Conv, weight: Tensor) -> Tensor:
    """The numbers of its dense weight that the library multiplies: s8 ones where it has scales."""
    return (weight if conv.weight_scales is None else integers_of(conv, weight)).contiguous()


def integers_of(conv: Conv, weight: Tensor) -> Tensor:
    """The s8 numbers of its dense weight by its scales: those that a model brings may use -128."""
    assert conv.weight_scales is not None
    least = _LEAST if conv.own_scales is None else -128
    return integer_weight(weight, conv.weight_scales, least)


def pack_weight(weight: Tensor, groups: int) -> PackedWeight | None:
    """The non-zero numbers (O, I / groups, kh, kw) of a convolution; None where all of them are."""
    return None if bool((weight != 0).all()) else pack(weight, groups=groups)


def pack_dense(conv: Conv) -> _native.NativeWeights:
    """The library's copy of all weights, zeros included."""
    scales = conv.weight_scales
    weight = stored_weight(conv, conv.weight)
    shape = (weight.shape[0], weight.shape[1], weight.shape[2], weight.shape[3])
    bias = _contiguous_bias(conv)
    return _native.NativeWeights.dense(
        shape, conv.groups, weight.data_ptr(), _address(bias), _address(scales)
    )


def _pack(conv: Conv) -> _native.NativeWeights:
    scales = conv.weight_scales
    weight = stored_weight(conv, conv.weight)
    packed = pack_weight(weight, conv.groups)
    if packed is None or (scales is not None and packed.density > _DENSEST_INT8[packed.block_rows]):
        return pack_dense(conv)
    bias = _contiguous_bias(conv)
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
        _address(bias),
        _address(scales),
    )


def integer_weight(weight: Tensor, scales: Tensor, least: int = _LEAST) -> Tensor:
    """The s8 weight (O, ...) that scales (O,) give: from `least` to 127, rounded half to even."""
    inverse = 1.0 / scales.reshape(-1, *[1] * (weight.dim() - 1))
    return (weight * inverse).round().clamp(least, 127).to(torch.int8)


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _contiguous_bias(conv: Conv) -> Tensor | None:
    return None if conv.bias is None else conv.bias.contiguous()
