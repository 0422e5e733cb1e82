"""DenseConv2d: nn.Conv2d whose large maps run on the library's kernels, no weight pruned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs import _native
from sparse_ovs.nn.conv import SparseConv2d
from sparse_ovs.nn.token_linear import inference_on_cpu
from sparse_ovs.nn.torch_conv import torch_conv2d

_FEW = 512  # pixels below which there is nothing to gain


class DenseConv2d(nn.Conv2d):
    """Drop-in nn.Conv2d. Contiguous maps in float32 on a CPU, without gradients, run on the native
    kernels for blocks of four channels, all of which are kept: torch rearranges such maps first.

    Attributes:
        native: whether they may; else always torch's convolution.
    """

    _twin: SparseConv2d | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.native = True
        self.__dict__["_twin"] = None  # not a child: it shares the parameters

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return torch_conv2d(self, x, weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        if not self.native or not _suits(x, self.weight):
            return super().forward(x)
        twin = self._twin
        if twin is None or twin.weight is not self.weight:
            kept = torch.ones_like(self.weight, dtype=torch.bool)
            twin = self.__dict__["_twin"] = SparseConv2d.from_dense(self, kept, "block4x1")
        return SparseConv2d.forward(twin, x)  # hooks are those of this module


def pointwise(maps: Tensor, weights: Tensor, biases: Tensor | None, native: bool = True) -> Tensor:
    """A 1x1 convolution of every image by weights of its own, see DenseConv2d.

    Args:
        maps: (N, C, h, w).
        weights: (N, O, C).
        biases: (N, O) or None.

    Returns:
        (N, O, h, w).
    """
    if not native or not _suits(maps, weights):
        return weighted_sums(weights, maps.flatten(2), biases).unflatten(2, maps.shape[-2:])
    made = [
        _convolution(weight, None if biases is None else biases[number])(image)
        for number, (image, weight) in enumerate(zip(maps.split(1), weights, strict=True))
    ]
    return made[0] if len(made) == 1 else torch.cat(made)


def weighted_sums(weights: Tensor, cells: Tensor, biases: Tensor | None) -> Tensor:
    """(N, O, C) and (N, C, S), and (N, O) or None -> (N, O, S)."""
    if biases is None:
        return weights @ cells
    return torch.baddbmm(biases[..., None], weights, cells)


def _convolution(weight: Tensor, bias: Tensor | None) -> SparseConv2d:
    """1x1, of (O, C), and (O,) or None."""
    made = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=bias is not None, device="meta")
    made.weight = nn.Parameter(weight[:, :, None, None], requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias, requires_grad=False)
    return SparseConv2d.from_dense(made, torch.ones_like(made.weight, dtype=torch.bool), "block4x1")


def _suits(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dim() == 4
        and x.shape[2] * x.shape[3] >= _FEW
        and x.is_contiguous()
        and inference_on_cpu(x, weight)
        and not _native.unavailable_reason()
    )
