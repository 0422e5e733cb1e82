"""The arguments of sparse_ovs::conv2d and of its gradients, as their implementations take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_ovs.conv_size import Geometry, output_size
from sparse_ovs.ops.layer import Layer
from sparse_ovs.ops.layout import memory_format


@dataclass(frozen=True)
class ConvCall:
    """[relu](layer(x) + residual): see `ops.conv2d`."""

    x: Tensor
    residual: Tensor | None
    layer: Layer
    geometry: Geometry
    relu: bool

    @classmethod
    def of(
        cls,
        x: Tensor,
        weight: Tensor,
        mask: Tensor,
        bias: Tensor | None,
        norm: Sequence[Tensor],
        residual: Tensor | None,
        indices: Tensor,
        row_ptr: Tensor,
        block_rows: int,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        eps: float,
        relu: bool,
    ) -> ConvCall:
        """Of the op's arguments, in the order of its schema."""
        layer = Layer(weight, mask, indices, row_ptr, block_rows, groups, bias, norm, eps)
        return cls(x, residual, layer, Geometry.of(stride, padding, dilation), relu)

    @property
    def out_shape(self) -> list[int]:
        """(N, O, H', W')."""
        kernel = self.layer.weight.shape[2:]
        size = output_size(self.x.shape[2:], kernel, *self.geometry)
        return [self.x.shape[0], self.layer.weight.shape[0], *size]

    @property
    def form(self) -> torch.memory_format:
        """The layout of all maps."""
        return memory_format(self.x)


@dataclass(frozen=True)
class ConvGradientCall:
    """Gradients of layer(x) from that of its value, `grad`: see `ops.conv2d_gradients`."""

    grad: Tensor
    x: Tensor
    layer: Layer
    geometry: Geometry
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
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        need_input: bool,
        need_weight: bool,
    ) -> ConvGradientCall:
        """Of the op's arguments, in the order of its schema."""
        layer = Layer(weight, mask, indices, row_ptr, block_rows, groups)
        geometry = Geometry.of(stride, padding, dilation)
        return cls(grad, x, layer, geometry, need_input, need_weight)

    @property
    def form(self) -> torch.memory_format:
        """The layout of both maps and of the input's gradient."""
        return memory_format(self.x if self.need_weight else self.grad)
