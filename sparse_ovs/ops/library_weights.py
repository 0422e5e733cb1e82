"""The library's copy of a layer's weights: packed, and written anew where the tensors change."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from sparse_ovs._native import NativeWeights
from sparse_ovs.ops.layer import Layer, fold_norm
from sparse_ovs.ops.versions import version_of
from sparse_ovs.threads import get_num_threads


def structure_version(layer: Layer) -> Hashable:
    """Changes where weights must be packed anew."""
    parts = version_of(layer.indices), version_of(layer.row_ptr)
    return *parts, layer.block_rows, layer.groups, tuple(layer.weight.shape)


def values_version(layer: Layer) -> Hashable:
    """Changes where the values did."""
    sources = [layer.weight, *([] if layer.bias is None else [layer.bias]), *layer.norm]
    return *map(version_of, sources), len(layer.norm), layer.eps


def pack(layer: Layer) -> NativeWeights:
    """The library's copy.

    Raises TypeError or ValueError where the library would misread a tensor.
    """
    weight, bias = _folded(layer)
    values = _gather(weight, layer.indices, layer.row_ptr, layer.block_rows).contiguous()
    return NativeWeights(
        tuple(weight.shape),  # type: ignore[arg-type]
        layer.groups,
        layer.block_rows,
        layer.row_ptr.data_ptr(),
        layer.indices.data_ptr(),
        8 * layer.indices.element_size(),
        values.data_ptr(),
        None if bias is None else bias.data_ptr(),
    )


def refresh(layer: Layer, weights: NativeWeights) -> None:
    """Writes today's values over those of yesterday; raises as `pack` does."""
    weight, bias = _folded(layer)
    if bias is None:
        bias = weight.new_zeros(weight.shape[0])
    weights.update(weight.data_ptr(), bias.data_ptr(), get_num_threads())


def refresh_transposed(layer: Layer, weights: NativeWeights) -> None:
    """The same for transposed weights, which have no bias."""
    weight, _ = _folded(layer)
    weights.update(weight.data_ptr(), None, get_num_threads())


def _folded(layer: Layer) -> tuple[Tensor, Tensor | None]:
    """Weight (O, I / groups, kh, kw) and bias (O,), contiguous, the norm folded into them."""
    _check(layer)
    with torch.no_grad():
        weight, bias = _as_conv(layer.weight), layer.bias
        if layer.norm:
            scale, bias = fold_norm(bias, layer.norm, layer.eps, weight.shape[0])
            weight = weight * scale[:, None, None, None]
        return weight, None if bias is None else bias.detach().contiguous()


def _check(layer: Layer) -> None:
    """Raises TypeError or ValueError where the library would read past a tensor or misread it."""
    indices, row_ptr, block_rows = layer.indices, layer.row_ptr, layer.block_rows
    out_channels = layer.weight.shape[0]
    vectors = {} if layer.bias is None else {"bias": layer.bias}
    vectors |= dict(zip(("gamma", "beta", "mean", "var"), layer.norm, strict=bool(layer.norm)))
    for name, tensor in {"weight": layer.weight, **vectors}.items():
        if tensor.dtype != torch.float32:
            raise TypeError(f"expected a float32 {name}, got {tensor.dtype}")
    for name, tensor in vectors.items():
        if tuple(tensor.shape) != (out_channels,):
            raise ValueError(
                f"expected a {name} of shape ({out_channels},), got {tuple(tensor.shape)}"
            )
    if indices.dtype not in (torch.uint16, torch.int16, torch.int32):
        raise TypeError(f"expected indices of 16 or 32 bits, got {indices.dtype}")
    if row_ptr.dtype != torch.int32:
        raise TypeError(f"expected an int32 row_ptr, got {row_ptr.dtype}")
    if block_rows not in (1, 4):
        raise ValueError(f"expected block_rows of 1 or 4, got {block_rows}")
    ends = -(-out_channels // block_rows) + 1
    if row_ptr.numel() != ends or int(row_ptr[-1]) != indices.numel():
        raise ValueError(
            f"expected a row_ptr of {ends} entries, the last one {indices.numel()}, "
            f"got {row_ptr.numel()} entries: ...{row_ptr[-2:].tolist()}"
        )


def _gather(weight: Tensor, indices: Tensor, row_ptr: Tensor, block_rows: int) -> Tensor:
    """Values (blocks, block_rows) of a dense weight (O, I, kh, kw) at the packed structure's
    places."""
    out_channels, in_channels = weight.shape[:2]
    taps = weight[0, 0].numel()
    columns = indices.to(torch.int64)
    if indices.dtype == torch.int16:
        columns &= 0xFFFF  # the bits of a uint16
    block_row = torch.repeat_interleave(
        torch.arange(row_ptr.numel() - 1), row_ptr.diff().to(torch.int64)
    )
    row = block_row[:, None] * block_rows + torch.arange(block_rows)
    place = (row * in_channels + (columns % in_channels)[:, None]) * taps
    place += (columns // in_channels)[:, None]
    inside = row < out_channels  # the last block row may reach past the weight
    values = weight.reshape(-1)[torch.where(inside, place, 0)]
    return torch.where(inside, values, 0.0)


def _as_conv(weight: Tensor) -> Tensor:
    """(O, I) as (O, I, 1, 1); (O, I, kh, kw) as it is. Contiguous, without a graph."""
    weight = weight.detach()
    return (weight if weight.dim() == 4 else weight[:, :, None, None]).contiguous()
