"""TokenLinear: nn.Linear for thousands of tokens, on torch's convolution kernels where they fit."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.ops.layout import empty_output

_FEW = 512  # tokens below which there is nothing to gain
_CHUNK = 4096  # tokens whose outputs stay in the caches


class TokenLinear(nn.Linear):
    """Drop-in nn.Linear, see `token_linear`.

    Attributes:
        as_convolution: whether many tokens may run as a convolution; else always as F.linear.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.as_convolution = True

    def forward(self, x: Tensor) -> Tensor:
        return token_linear(x, self.weight, self.bias, self.as_convolution)


def token_linear(
    x: Tensor, weight: Tensor, bias: Tensor | None, as_convolution: bool = True
) -> Tensor:
    """F.linear; many tokens in float32 on a CPU run as a convolution 1x1 over a map of them.

    torch's linear layers run on MKL, whose kernels for AMD leave AVX-512 out, and copy the bias
    into the output first. Its convolutions run on oneDNN, which generates code for the CPU at hand.
    Backward passes and compilers get the linear layer.

    Args:
        x: (..., I).
        weight: (O, I).
        bias: (O,) or None.
        as_convolution: False for F.linear in any case.

    Returns:
        (..., O).
    """
    tokens = x.numel() // max(1, x.shape[-1])
    # MKL reads transposed tokens as they lie.
    suits = tokens >= _FEW and x.is_contiguous() and inference_on_cpu(x, weight)
    if not as_convolution or not suits:
        return F.linear(x, weight, bias)
    rows = x.reshape(tokens, -1)
    if tokens <= _CHUNK:
        return _as_convolution(rows, weight, bias).reshape(*x.shape[:-1], -1)
    # Into a buffer that was used before: new pages would cost as much as the arithmetic.
    made = empty_output((tokens, len(weight)), torch.contiguous_format)
    for first in range(0, tokens, _CHUNK):
        chunk = slice(first, first + _CHUNK)
        made[chunk] = _as_convolution(rows[chunk], weight, bias)
    return made.reshape(*x.shape[:-1], -1)


def _as_convolution(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(tokens, I) -> (tokens, O)."""
    pixels = rows[None, :, None].permute(0, 3, 1, 2)  # (1, I, tokens, 1), channels last
    made = F.conv2d(pixels, weight[:, :, None, None], bias)
    return made.permute(0, 2, 3, 1).reshape(len(rows), -1)


def inference_on_cpu(x: Tensor, weight: Tensor) -> bool:
    """Whether a dense layer runs in float32 on a CPU, without a backward pass or a compiler, which
    want torch's own layers."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
