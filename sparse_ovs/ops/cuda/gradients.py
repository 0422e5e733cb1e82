"""sparse_ovs::conv2d_gradients and sparse_ovs::linear_gradients on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs.ops.conv_gradients import dense_conv2d_gradients, gradient_form
from sparse_ovs.ops.cuda.layer import Weights, gpu_layer
from sparse_ovs.ops.cuda.request import Geometry, conv_arithmetic, linear_arithmetic
from sparse_ovs.ops.cuda.routes import block_gradients
from sparse_ovs.ops.linear_gradients import dense_linear_gradients


def conv2d_gradients_on_gpu(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    need_input: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    """See `ops.conv2d_gradients`: block kernels where the mask is of blocks, else dense torch."""
    form = gradient_form(grad, x, need_weight)
    arithmetic = conv_arithmetic(grad.dtype)
    packed = None
    if grad.numel() and x.numel() and groups == 1:
        packed = gpu_layer(indices).blocks(Weights(weight, mask, None), arithmetic)
    if packed is None:
        grad_x, grad_weight = dense_conv2d_gradients(
            grad,
            x.to(grad.dtype),
            (weight * mask).to(grad.dtype),
            mask,
            stride,
            padding,
            dilation,
            groups,
            form,
            need_input,
            need_weight,
        )
        return grad_x, grad_weight.to(weight.dtype)
    geometry = Geometry(*((pair[0], pair[1]) for pair in (stride, padding, dilation)))
    grad_x, grad_weight = grad.new_empty(0), weight.new_empty(0)
    if need_input:
        shape = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
        grad_x = block_gradients.conv2d_input_gradient(grad, packed, shape, geometry, arithmetic)
        grad_x = grad_x.contiguous(memory_format=form)
    if need_weight:
        found = block_gradients.conv2d_weight_gradient(grad, x, packed, geometry, arithmetic)
        grad_weight = (found * mask).to(weight.dtype).contiguous()
    return grad_x, grad_weight


def linear_gradients_on_gpu(
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
    """See `ops.linear_gradients`, and `conv2d_gradients_on_gpu`."""
    arithmetic = linear_arithmetic(grad.dtype)
    packed = None
    if grad.numel() and x.numel():
        packed = gpu_layer(indices).blocks(Weights(weight, mask, None), arithmetic)
    if packed is None:
        grad_x, grad_weight = dense_linear_gradients(
            grad,
            x.to(grad.dtype),
            (weight * mask).to(grad.dtype),
            mask,
            need_input,
            need_weight,
        )
        return grad_x, grad_weight.to(weight.dtype)
    rows = grad.reshape(-1, grad.shape[-1]).contiguous()
    grad_x, grad_weight = grad.new_empty(0), weight.new_empty(0)
    if need_input:
        found = block_gradients.linear_input_gradient(rows, packed, arithmetic)
        grad_x = found.view(x.shape)
    if need_weight:
        tokens = x.reshape(-1, x.shape[-1]).contiguous()
        found = block_gradients.linear_weight_gradient(rows, tokens, packed, arithmetic)
        grad_weight = (found * mask).to(weight.dtype)
    return grad_x, grad_weight


torch.library.impl("sparse_ovs::conv2d_gradients", "CUDA", conv2d_gradients_on_gpu)
torch.library.impl("sparse_ovs::linear_gradients", "CUDA", linear_gradients_on_gpu)
