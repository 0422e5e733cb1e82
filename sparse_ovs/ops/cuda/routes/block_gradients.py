"""Gradients of layers whose masks are of blocks, by the Triton kernels."""

from __future__ import annotations

from torch import Tensor

from sparse_ovs.conv_size import Geometry
from sparse_ovs.ops.cuda.request import Arithmetic
from sparse_ovs.ops.cuda.routes.block_sparse import Packed
from sparse_ovs.ops.layout import nhwc


def conv2d_input_gradient(
    grad: Tensor,
    packed: Packed,
    input_shape: tuple[int, int, int, int],
    geometry: Geometry,
    arithmetic: Arithmetic,
) -> Tensor:
    """(N, I, H, W) of grad's dtype, channels_last, from grad (N, O, OH, OW)."""
    from sparse_ovs.kernels import bsr_conv2d

    structure = packed.structure
    transpose = structure.transpose
    return bsr_conv2d.input_gradient(
        nhwc(grad),
        packed.values,
        transpose.row_ptr,
        transpose.blocks,
        transpose.rows,
        transpose.taps,
        input_shape,
        (structure.shape[2], structure.shape[3]),
        *geometry,
        precision=arithmetic.precision,
    )


def conv2d_weight_gradient(
    grad: Tensor, x: Tensor, packed: Packed, geometry: Geometry, arithmetic: Arithmetic
) -> Tensor:
    """(O, I, kh, kw) of grad's dtype, computed in the stored blocks and zero outside."""
    from sparse_ovs.kernels import bsr_conv2d

    structure = packed.structure
    values = bsr_conv2d.weight_gradient(
        nhwc(grad),
        nhwc(x),
        structure.block_rows,
        structure.taps,
        structure.channels,
        structure.block,
        (structure.shape[2], structure.shape[3]),
        *geometry,
        precision=arithmetic.precision,
    )
    return structure.scatter(values)


def linear_input_gradient(grad: Tensor, packed: Packed, arithmetic: Arithmetic) -> Tensor:
    """(M, I) of grad's dtype, from grad (M, O)."""
    from sparse_ovs.kernels import bsr_linear

    transpose = packed.structure.transpose
    return bsr_linear.input_gradient(
        grad,
        packed.values,
        transpose.row_ptr,
        transpose.blocks,
        transpose.rows,
        packed.structure.shape[1],
        arithmetic.precision,
    )


def linear_weight_gradient(
    grad: Tensor, x: Tensor, packed: Packed, arithmetic: Arithmetic
) -> Tensor:
    """(O, I) of grad's dtype, computed in the stored blocks and zero outside."""
    from sparse_ovs.kernels import bsr_linear

    structure = packed.structure
    values = bsr_linear.weight_gradient(
        grad, x, structure.block_rows, structure.channels, structure.block, arithmetic.precision
    )
    return structure.scatter(values)
