"""SparseConv2d: an nn.Conv2d with a fixed mask that runs sparse kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs import ops
from sparse_ovs.nn.fold import Fold
from sparse_ovs.nn.structure import SparseWeight, adopt, strip_sparse_state
from sparse_ovs.nn.torch_conv import torch_conv2d


class SparseConv2d(SparseWeight, nn.Conv2d):  # type: ignore[misc]
    """Drop-in nn.Conv2d: (N, C, H, W) or (C, H, W) in and out, same state_dict keys, `.weight`
    dense with zeros.

    Runs sparse, forward and backward, for float32 on the CPU, and for float32, float16 and bfloat16
    on GPUs, autocast included; the dense masked path serves the rest. NaN or Inf under a pruned
    weight give 0 in the sparse kernels (but see `sp24_conv2d`), where a dense convolution gives
    NaN.

    Raises:
        ValueError, TypeError: at the call, for an input of another rank, channel count, device or
            dtype.
    """

    _fold: Fold | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__dict__["_fold"] = None
        self._init_sparse(torch.ones_like(self.weight, dtype=torch.bool), "unstructured", "auto")

    @classmethod
    def from_dense(
        cls,
        conv: nn.Conv2d,
        mask: Tensor | None = None,
        pattern: str = "unstructured",
        engine: str = "auto",
    ) -> SparseConv2d:
        """A sparse twin that shares the convolution's parameters; mask None keeps the weights
        that are not zero."""
        made = cls.__new__(cls)
        adopt(made, conv)
        made.__dict__["_fold"] = None
        made._init_sparse(conv.weight != 0 if mask is None else mask, pattern, engine)
        return made

    def to_dense(self) -> nn.Conv2d:
        """A plain nn.Conv2d that shares the parameters, zeros in place."""
        conv = nn.Conv2d.__new__(nn.Conv2d)
        adopt(conv, self)
        strip_sparse_state(conv)
        return conv

    def _unsupported(self, dtype: torch.dtype) -> list[str]:
        reasons = ops.conv2d_unsupported(
            dtype=dtype,
            device=self.weight.device,
            weight_shape=self.weight.shape,
            fit=lambda: self.fit,
            groups=self.groups,
        )
        if self.padding_mode != "zeros":
            reasons.append(f"padding_mode '{self.padding_mode}' has no kernel")
        if self.padding == "same" and any(
            d * (k - 1) % 2 for d, k in zip(self.dilation, self.kernel_size, strict=True)
        ):
            reasons.append("padding 'same' of an even kernel has no kernel")
        return reasons

    def _paddings(self) -> tuple[int, int]:
        if self.padding == "valid":
            return (0, 0)
        if self.padding == "same":
            return (
                self.dilation[0] * (self.kernel_size[0] - 1) // 2,
                self.dilation[1] * (self.kernel_size[1] - 1) // 2,
            )
        return self.padding  # type: ignore[return-value]

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return torch_conv2d(self, x, weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() not in (3, 4):
            raise ValueError(f"expected input of rank 3 or 4 for {self.layer_name}, got {x.dim()}")
        if x.shape[-3] != self.in_channels:
            raise ValueError(
                f"expected {self.in_channels} input channels for {self.layer_name}, "
                f"got {x.shape[-3]}"
            )
        self._check_input(x)
        x = self._autocast(x)
        fold = self._fold if self._fold is not None and self._fold.active else None
        if not self._runs_sparse(x):
            y = self._conv_forward(x, self._masked_weight(), self.bias)
            return y if fold is None else fold.apply(y)
        batch = x if x.dim() == 4 else x[None]
        y = ops.conv2d(
            batch,
            self.weight,
            self.mask,
            self.bias,
            [] if fold is None else fold.norm_tensors(),
            None,
            self.indices,
            self.row_ptr,
            self.block_rows,
            self.stride,
            self._paddings(),
            self.dilation,
            self.groups,
            0.0 if fold is None else fold.norm.eps,
            fold is not None and fold.relu,
        )
        return y if x.dim() == 4 else y[0]

    def train(self, mode: bool = True) -> SparseConv2d:
        super().train(mode)
        if self._fold is not None:
            self._fold.set_active(not mode)
        return self
