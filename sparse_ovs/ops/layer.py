"""A sparse layer as the ops take it: its weight, what is folded into it, and its structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """The tensors that a layer computes with, all but its inputs.

    Attributes:
        weight: (O, I / groups, kh, kw) or (O, I), dense with zeros.
        mask: bool like weight, True where the structure stores one.
        indices, row_ptr, block_rows: the packed structure, see `formats.PackedWeight`.
        groups: of a convolution.
        bias: (O,) or None.
        norm: [] or [gamma, beta, mean, var], each (O,), of a BatchNorm in eval mode with `eps`.
    """

    weight: Tensor
    mask: Tensor
    indices: Tensor
    row_ptr: Tensor
    block_rows: int
    groups: int = 1
    bias: Tensor | None = None
    norm: Sequence[Tensor] = ()
    eps: float = 0.0


def fold_norm(
    bias: Tensor | None, norm: Sequence[Tensor], eps: float, out_channels: int
) -> tuple[Tensor, Tensor]:
    """Scale and bias (O,) that turn conv(x) into norm(conv(x) + bias) for an eval-mode
    BatchNorm."""
    gamma, beta, mean, var = norm
    # In fp64, since torch's square root in fp32 is a unit off on some CPUs: a plan's bits are the
    # same on all of them.
    scale = gamma / torch.sqrt((var + eps).double()).to(var.dtype)
    shift = mean if bias is None else mean - bias
    return scale, beta - shift * scale
