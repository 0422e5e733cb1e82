"""sparse_ovs::linear_gradients: gradients of a sparse linear layer's input and weight."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.formats import fit_mask
from sparse_ovs.ops.cuda.routes import BLOCKS
from sparse_ovs.ops.layer import Layer
from sparse_ovs.ops.layout import empty_output
from sparse_ovs.ops.linear import linear_unsupported
from sparse_ovs.ops.streams import streams_of
from sparse_ovs.threads import get_num_threads

torch.library.define(
    "sparse_ovs::linear_gradients",
    "(Tensor grad, Tensor x, Tensor weight, Tensor mask, Tensor indices, Tensor row_ptr, "
    "int block_rows, bool need_input, bool need_weight) -> (Tensor, Tensor)",
    tags=(torch.Tag.needs_fixed_stride_order,),
)


def linear_gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    need_input: bool = True,
    need_weight: bool = True,
) -> tuple[Tensor, Tensor]:
    """Gradients of y = x @ weight.T; see `conv2d_gradients`.

    Args:
        grad: (..., O), of y.
        x: (..., I); only its shape counts where the weight's gradient is not needed.
        weight, mask, indices, row_ptr, block_rows: see `linear`.
        need_input, need_weight: which gradients to compute.

    Returns:
        The input's gradient (..., I) and the weight's (O, I), with zeros where mask is False. An
        empty tensor (0,) stands for one that is not needed.
    """
    return torch.ops.sparse_ovs.linear_gradients(
        grad, x, weight, mask, indices, row_ptr, block_rows, need_input, need_weight
    )


@torch.library.register_fake("sparse_ovs::linear_gradients")
def _gradients_fake(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    need_input: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    return (
        grad.new_empty(x.shape if need_input else 0),
        weight.new_empty(weight.shape if need_weight else 0),
    )


@torch.library.impl("sparse_ovs::linear_gradients", "CPU")
def _gradients_cpu(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    need_input: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    reasons = linear_unsupported(
        dtype=weight.dtype,
        device=weight.device,
        weight_shape=weight.shape,
        fit=lambda: fit_mask(mask, BLOCKS),
    )
    grad = grad.contiguous()
    if reasons or grad.numel() == 0 or x.numel() == 0:
        return dense_linear_gradients(grad, x, weight, mask, need_input, need_weight)
    layer = Layer(weight, None, [], 0.0, indices, row_ptr, block_rows, 1)
    streams, threads = streams_of(indices), get_num_threads()
    # Tokens are the pixels of a channels_last map of one row.
    tokens = grad.numel() // grad.shape[-1]
    narrow, wide = (1, weight.shape[1], 1, tokens), (1, weight.shape[0], 1, tokens)
    layout, one, none = _native.NHWC, (1, 1), (0, 0)
    grad_x, grad_weight = grad.new_empty(0), weight.new_empty(0)
    if need_input:
        grad_x = empty_output(x.shape, torch.contiguous_format)
        plans = streams.transposed_plan(
            layer,
            (tokens, threads),
            lambda weights: _native.conv_plan(
                weights, wide, layout, one, none, one, False, None, threads
            ),
        )
        with plans as plan:
            plan.run([grad.data_ptr()], grad_x.data_ptr(), threads)
    if need_weight:
        x = x.contiguous()
        grad_weight = empty_output(weight.shape, torch.contiguous_format)
        product = streams.weight_gradient(
            layer,
            (tokens, threads),
            lambda weights: _native.WeightGradient(
                weights, narrow, layout, one, none, one, threads
            ),
        )
        product.run(x.data_ptr(), grad.data_ptr(), grad_weight.data_ptr(), threads)
    return grad_x, grad_weight


def dense_linear_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, mask: Tensor, need_input: bool, need_weight: bool
) -> tuple[Tensor, Tensor]:
    """Both by dense torch, the weight's masked; all of one dtype."""
    rows = grad.reshape(-1, grad.shape[-1])
    return (
        grad @ weight if need_input else grad.new_empty(0),
        (rows.T @ x.reshape(-1, x.shape[-1])) * mask if need_weight else weight.new_empty(0),
    )
