"""What the library's weights come from: tensors, their versions, and the structure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_ovs._native import NativeWeights
from sparse_ovs.ops.versions import version_of
from sparse_ovs.threads import get_num_threads


def _check_parts(
    weight: Tensor,
    bias: Tensor | None,
    norm: Sequence[Tensor],
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
) -> None:
    """Raises TypeError or ValueError where the library would read past a tensor or misread it."""
    out_channels = weight.shape[0]
    vectors = {"bias": bias} if bias is not None else {}
    vectors |= dict(zip(("gamma", "beta", "mean", "var"), norm, strict=bool(norm)))
    for name, tensor in {"weight": weight, **vectors}.items():
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


def fold_norm(
    bias: Tensor | None, norm: Sequence[Tensor], eps: float, out_channels: int
) -> tuple[Tensor, Tensor]:
    """Scale and bias (O,) that turn conv(x) into norm(conv(x) + bias) for an eval-mode
    BatchNorm."""
    gamma, beta, mean, var = norm
    scale = gamma / torch.sqrt(var + eps)
    shift = mean if bias is None else mean - bias
    return scale, beta - shift * scale


def _as_conv(weight: Tensor) -> Tensor:
    """(O, I) as (O, I, 1, 1); (O, I, kh, kw) as it is. Contiguous, without a graph."""
    weight = weight.detach()
    return (weight if weight.dim() == 4 else weight[:, :, None, None]).contiguous()


@dataclass(frozen=True)
class Layer:
    """What the library's weights come from: a weight, what is folded into it, and its structure.

    weight: (O, I / groups, kh, kw) or (O, I) float32; bias: (O,) or None; norm: [] or [gamma, beta,
    mean, var], each (O,); indices, row_ptr, block_rows: see formats.PackedWeight.
    """

    weight: Tensor
    bias: Tensor | None
    norm: Sequence[Tensor]
    eps: float
    indices: Tensor
    row_ptr: Tensor
    block_rows: int
    groups: int

    def structure(self) -> Hashable:
        """Changes where weights must be packed anew."""
        parts = version_of(self.indices), version_of(self.row_ptr)
        return *parts, self.block_rows, self.groups, tuple(self.weight.shape)

    def versions(self) -> Hashable:
        """Changes where the values did."""
        sources = [self.weight, *([] if self.bias is None else [self.bias]), *self.norm]
        return *map(version_of, sources), len(self.norm), self.eps

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Weight (O, I / groups, kh, kw) and bias (O,), contiguous, the norm folded into them.

        Raises TypeError or ValueError where the library would misread a tensor.
        """
        _check_parts(self.weight, self.bias, self.norm, self.indices, self.row_ptr, self.block_rows)
        with torch.no_grad():
            weight, bias = _as_conv(self.weight), self.bias
            if self.norm:
                scale, bias = fold_norm(bias, self.norm, self.eps, weight.shape[0])
                weight = weight * scale[:, None, None, None]
            return weight, None if bias is None else bias.detach().contiguous()

    def pack(self) -> NativeWeights:
        """The library's copy."""
        weight, bias = self.folded()
        values = _gather(weight, self.indices, self.row_ptr, self.block_rows).contiguous()
        return NativeWeights(
            tuple(weight.shape),  # type: ignore[arg-type]
            self.groups,
            self.block_rows,
            self.row_ptr.data_ptr(),
            self.indices.data_ptr(),
            8 * self.indices.element_size(),
            values.data_ptr(),
            None if bias is None else bias.data_ptr(),
        )

    def refresh(self, weights: NativeWeights) -> None:
        """Writes today's values over those of yesterday."""
        weight, bias = self.folded()
        if bias is None:
            bias = weight.new_zeros(weight.shape[0])
        weights.update(weight.data_ptr(), bias.data_ptr(), get_num_threads())
