"""sparse_ovs::conv2d_gradients and sparse_ovs::linear_gradients on a GPU."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sparse_ovs.ops.arguments import takes
from sparse_ovs.ops.conv_call import ConvGradientCall
from sparse_ovs.ops.cuda.layer import gpu_layer
from sparse_ovs.ops.cuda.request import conv_arithmetic, linear_arithmetic
from sparse_ovs.ops.cuda.routes import block_gradients
from sparse_ovs.ops.dense_gradients import dense_conv2d_gradients, dense_linear_gradients
from sparse_ovs.ops.layer import Layer
from sparse_ovs.ops.linear_call import LinearGradientCall


@takes(ConvGradientCall.of)
def conv2d_gradients_on_gpu(call: ConvGradientCall) -> tuple[Tensor, Tensor]:
    """See `ops.conv2d_gradients`: block kernels where the mask is of blocks, else dense torch."""
    grad, x, layer, geometry = call.grad, call.x, call.layer, call.geometry
    arithmetic = conv_arithmetic(grad.dtype)
    packed = None
    if grad.numel() and x.numel() and layer.groups == 1:
        packed = gpu_layer(layer.indices).blocks(layer, arithmetic)
    if packed is None:
        grad_x, grad_weight = dense_conv2d_gradients(
            replace(call, x=x.to(grad.dtype), layer=_dense(layer, grad.dtype))
        )
        return grad_x, grad_weight.to(layer.weight.dtype)
    grad_x, grad_weight = grad.new_empty(0), layer.weight.new_empty(0)
    if call.need_input:
        shape = (x.shape[0], x.shape[1], x.shape[2], x.shape[3])
        grad_x = block_gradients.conv2d_input_gradient(grad, packed, shape, geometry, arithmetic)
        grad_x = grad_x.contiguous(memory_format=call.form)
    if call.need_weight:
        found = block_gradients.conv2d_weight_gradient(grad, x, packed, geometry, arithmetic)
        grad_weight = (found * layer.mask).to(layer.weight.dtype).contiguous()
    return grad_x, grad_weight


@takes(LinearGradientCall.of)
def linear_gradients_on_gpu(call: LinearGradientCall) -> tuple[Tensor, Tensor]:
    """See `ops.linear_gradients`, and `conv2d_gradients_on_gpu`."""
    grad, x, layer = call.grad, call.x, call.layer
    arithmetic = linear_arithmetic(grad.dtype)
    packed = None
    if grad.numel() and x.numel():
        packed = gpu_layer(layer.indices).blocks(layer, arithmetic)
    if packed is None:
        grad_x, grad_weight = dense_linear_gradients(
            replace(call, x=x.to(grad.dtype), layer=_dense(layer, grad.dtype))
        )
        return grad_x, grad_weight.to(layer.weight.dtype)
    rows = grad.reshape(-1, grad.shape[-1]).contiguous()
    grad_x, grad_weight = grad.new_empty(0), layer.weight.new_empty(0)
    if call.need_input:
        found = block_gradients.linear_input_gradient(rows, packed, arithmetic)
        grad_x = found.view(x.shape)
    if call.need_weight:
        tokens = x.reshape(-1, x.shape[-1]).contiguous()
        found = block_gradients.linear_weight_gradient(rows, tokens, packed, arithmetic)
        grad_weight = (found * layer.mask).to(layer.weight.dtype)
    return grad_x, grad_weight


def _dense(layer: Layer, dtype: torch.dtype) -> Layer:
    """As dense torch runs it: masked, and of another dtype."""
    return replace(layer, weight=(layer.weight * layer.mask).to(dtype))
