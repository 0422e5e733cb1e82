"""The arguments of sparse_ovs::linear and of its gradients, as their implementations take them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sparse_ovs.ops.layer import Layer


@dataclass(frozen=True)
class LinearCall:
    """[relu](layer(x)): see `ops.linear`."""

    x: Tensor
    layer: Layer
    relu: bool

    @classmethod
    def of(
        cls,
        x: Tensor,
        weight: Tensor,
        mask: Tensor,
        bias: Tensor | None,
        indices: Tensor,
        row_ptr: Tensor,
        block_rows: int,
        relu: bool,
    ) -> LinearCall:
        """Of the op's arguments, in the order of its schema."""
        return cls(x, Layer(weight, mask, indices, row_ptr, block_rows, bias=bias), relu)


@dataclass(frozen=True)
class LinearGradientCall:
    """Gradients of layer(x) from that of its value, `grad`: see `ops.linear_gradients`."""

    grad: Tensor
    x: Tensor
    layer: Layer
    need_input: bool
    need_weight: bool

    @classmethod
    def of(
        cls,
        grad: Tensor,
        x: Tensor,
        weight: Tensor,
        mask: Tensor,
        indices: Tensor,
        row_ptr: Tensor,
        block_rows: int,
        need_input: bool,
        need_weight: bool,
    ) -> LinearGradientCall:
        """Of the op's arguments, in the order of its schema."""
        layer = Layer(weight, mask, indices, row_ptr, block_rows)
        return cls(grad, x, layer, need_input, need_weight)
