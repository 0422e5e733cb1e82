"""sparse_ovs::conv2d_gradients: gradients of a sparse convolution's input and weight."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparse_ovs.ops.arguments import takes
from sparse_ovs.ops.conv_call import ConvGradientCall
from sparse_ovs.ops.conv_gradients_cpu import conv2d_gradients_on_cpu
from sparse_ovs.ops.cuda.gradients import conv2d_gradients_on_gpu

torch.library.define(
    "sparse_ovs::conv2d_gradients",
    "(Tensor grad, Tensor x, Tensor weight, Tensor mask, Tensor indices, Tensor row_ptr, "
    "int block_rows, int[] stride, int[] padding, int[] dilation, int groups, bool need_input, "
    "bool need_weight) -> (Tensor, Tensor)",
    tags=(torch.Tag.needs_fixed_stride_order,),
)


def conv2d_gradients(
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
    need_input: bool = True,
    need_weight: bool = True,
) -> tuple[Tensor, Tensor]:
    """Gradients of y = conv2d(x, weight).

    The input's is a sparse convolution of grad with the transposed weight; the weight's a sampled
    product: one dot product over the pixels for each weight that the structure names. What no
    kernel supports (`conv2d_unsupported`) runs dense torch on the masked weight.

    Args:
        grad: (N, O, H', W'), of y.
        x: (N, C, H, W); only its shape counts where the weight's gradient is not needed.
        weight, mask, indices, row_ptr, block_rows, stride, padding, dilation, groups: see `conv2d`.
        need_input, need_weight: which gradients to compute.

    Returns:
        The input's gradient, of x's shape, and the weight's, of weight's shape with zeros where
        mask is False. An empty tensor (0,) stands for one that is not needed.
    """
    return torch.ops.sparse_ovs.conv2d_gradients(
        grad,
        x,
        weight,
        mask,
        indices,
        row_ptr,
        block_rows,
        list(stride),
        list(padding),
        list(dilation),
        groups,
        need_input,
        need_weight,
    )


@torch.library.register_fake("sparse_ovs::conv2d_gradients")
@takes(ConvGradientCall.of)
def _gradients_fake(call: ConvGradientCall) -> tuple[Tensor, Tensor]:
    x, weight = call.x, call.layer.weight
    grad_x, grad_weight = call.grad.new_empty(0), weight.new_empty(0)
    if call.need_input:
        grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=call.form)
    if call.need_weight:
        grad_weight = weight.new_empty(weight.shape)
    return grad_x, grad_weight


torch.library.impl("sparse_ovs::conv2d_gradients", "CPU", conv2d_gradients_on_cpu)
torch.library.impl("sparse_ovs::conv2d_gradients", "CUDA", conv2d_gradients_on_gpu)
