"""SparseLinear: an nn.Linear with a fixed mask that runs sparse kernels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs import ops
from sparse_ovs.nn.structure import SparseWeight, adopt, strip_sparse_state


class SparseLinear(SparseWeight, nn.Linear):  # type: ignore[misc]
    """Drop-in nn.Linear over the last dimension; see SparseConv2d for what it holds and when it
    runs sparse."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._init_sparse(torch.ones_like(self.weight, dtype=torch.bool), "unstructured", "auto")

    @classmethod
    def from_dense(
        cls,
        linear: nn.Linear,
        mask: Tensor | None = None,
        pattern: str = "unstructured",
        engine: str = "auto",
    ) -> SparseLinear:
        """A sparse twin that shares the layer's parameters; mask None keeps the weights that are
        not zero."""
        made = cls.__new__(cls)
        adopt(made, linear)
        made._init_sparse(linear.weight != 0 if mask is None else mask, pattern, engine)
        return made

    def to_dense(self) -> nn.Linear:
        """A plain nn.Linear that shares the parameters, zeros in place."""
        linear = nn.Linear.__new__(nn.Linear)
        adopt(linear, self)
        strip_sparse_state(linear)
        return linear

    def _unsupported(self, dtype: torch.dtype) -> list[str]:
        return ops.linear_unsupported(
            dtype=dtype,
            device=self.weight.device,
            weight_shape=self.weight.shape,
            fit=lambda: self.fit,
        )

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() < 1 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"expected {self.in_features} input features for {self.layer_name}, "
                f"got shape {tuple(x.shape)}"
            )
        self._check_input(x)
        x = self._autocast(x)
        if not self._runs_sparse(x):
            return F.linear(x, self._masked_weight(), self.bias)
        return ops.linear(
            x, self.weight, self.mask, self.bias, self.indices, self.row_ptr, self.block_rows
        )
