"""Gradients of sparse layers by dense torch, for what no kernel runs."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs.ops.conv_call import ConvGradientCall
from sparse_ovs.ops.linear_call import LinearGradientCall


def dense_conv2d_gradients(call: ConvGradientCall) -> tuple[Tensor, Tensor]:
    """See `ops.conv2d_gradients`; all tensors of one dtype, the weight's gradient masked."""
    layer = call.layer
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        call.grad,
        call.x,
        layer.weight,
        None,
        *call.geometry,
        False,
        [0, 0],
        layer.groups,
        [call.need_input, call.need_weight, False],
    )
    return (
        grad_x.contiguous(memory_format=call.form) if call.need_input else call.grad.new_empty(0),
        (grad_weight * layer.mask).contiguous() if call.need_weight else layer.weight.new_empty(0),
    )


def dense_linear_gradients(call: LinearGradientCall) -> tuple[Tensor, Tensor]:
    """See `ops.linear_gradients`, and `dense_conv2d_gradients`."""
    grad, x, layer = call.grad, call.x, call.layer
    rows = grad.reshape(-1, grad.shape[-1])
    grad_x, grad_weight = grad.new_empty(0), layer.weight.new_empty(0)
    if call.need_input:
        grad_x = grad @ layer.weight
    if call.need_weight:
        grad_weight = (rows.T @ x.reshape(-1, x.shape[-1])) * layer.mask
    return grad_x, grad_weight
