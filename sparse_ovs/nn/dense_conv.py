"""DenseConv2d: nn.Conv2d whose large maps run on the library's kernels, no weight pruned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs import ops
from sparse_ovs.nn.conv import SparseConv2d
from sparse_ovs.nn.token_linear import inference_on_cpu

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

    def forward(self, x: Tensor) -> Tensor:
        if not self.native or not self._suits(x):
            return super().forward(x)
        twin = self._twin
        if twin is None or twin.weight is not self.weight:
            kept = torch.ones_like(self.weight, dtype=torch.bool)
            twin = self.__dict__["_twin"] = SparseConv2d.from_dense(self, kept, "block4x1")
        return SparseConv2d.forward(twin, x)  # hooks are those of this module

    def _suits(self, x: Tensor) -> bool:
        return (
            x.dim() == 4
            and x.shape[2] * x.shape[3] >= _FEW
            and x.is_contiguous()
            and inference_on_cpu(x, self.weight)
            and not ops.conv2d_unsupported(
                dtype=x.dtype,
                device=x.device,
                weight_shape=self.weight.shape,
                fit=lambda: None,  # type: ignore[arg-type, return-value]
            )
        )
