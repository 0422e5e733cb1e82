"""sparse_ovs::linear_gradients: gradients of a sparse linear layer's input and weight."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.conv_size import Geometry
from sparse_ovs.formats import fit_mask
from sparse_ovs.ops.arguments import takes
from sparse_ovs.ops.cuda.gradients import linear_gradients_on_gpu
from sparse_ovs.ops.cuda.routes import BLOCKS
from sparse_ovs.ops.dense_gradients import dense_linear_gradients
from sparse_ovs.ops.layout import empty_output
from sparse_ovs.ops.linear_call import LinearGradientCall
from sparse_ovs.ops.streams import streams_of
from sparse_ovs.ops.unsupported import linear_unsupported
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
@takes(LinearGradientCall.of)
def _gradients_fake(call: LinearGradientCall) -> tuple[Tensor, Tensor]:
    weight = call.layer.weight
    return (
        call.grad.new_empty(call.x.shape if call.need_input else 0),
        weight.new_empty(weight.shape if call.need_weight else 0),
    )


@torch.library.impl("sparse_ovs::linear_gradients", "CPU")
@takes(LinearGradientCall.of)
def _gradients_cpu(call: LinearGradientCall) -> tuple[Tensor, Tensor]:
    layer, weight = call.layer, call.layer.weight
    reasons = linear_unsupported(
        dtype=weight.dtype,
        device=weight.device,
        weight_shape=weight.shape,
        fit=lambda: fit_mask(layer.mask, BLOCKS),
    )
    grad, x = call.grad.contiguous(), call.x
    if reasons or grad.numel() == 0 or x.numel() == 0:
        return dense_linear_gradients(replace(call, grad=grad))
    streams, threads = streams_of(layer.indices), get_num_threads()
    # Tokens are the pixels of a channels_last map of one row.
    tokens = grad.numel() // grad.shape[-1]
    narrow, wide = (1, weight.shape[1], 1, tokens), (1, weight.shape[0], 1, tokens)
    layout, geometry = _native.NHWC, Geometry()
    grad_x, grad_weight = grad.new_empty(0), weight.new_empty(0)
    if call.need_input:
        grad_x = empty_output(x.shape, torch.contiguous_format)
        plans = streams.transposed_plan(
            layer,
            (tokens, threads),
            lambda weights: _native.conv_plan(
                weights, wide, layout, *geometry, False, None, threads
            ),
        )
        with plans as plan:
            plan.run([grad.data_ptr()], grad_x.data_ptr(), threads)
    if call.need_weight:
        x = x.contiguous()
        grad_weight = empty_output(weight.shape, torch.contiguous_format)
        product = streams.weight_gradient(
            layer,
            (tokens, threads),
            lambda weights: _native.WeightGradient(weights, narrow, layout, *geometry, threads),
        )
        product.run(x.data_ptr(), grad.data_ptr(), grad_weight.data_ptr(), threads)
    return grad_x, grad_weight


torch.library.impl("sparse_ovs::linear_gradients", "CUDA", linear_gradients_on_gpu)
