"""Runs nodes in torch: those that the native library has no step for, and those that it refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.engine.dims import AXES
from sparse_ovs.engine.graph import (
    Activation,
    Add,
    AtrousPool,
    Attention,
    BatchNorm,
    Conv,
    Convert,
    Crop,
    LayerNorm,
    Mean,
    Node,
    Pad,
    Pool,
    Quant,
    Scale,
    Shift,
    Tokens,
    Upsample2x,
)
from sparse_ovs.engine.torch_nodes import AsMap, Constant, TorchNode, View, substitute
from sparse_ovs.engine.weights import NativeConvWeights, integers_of
from sparse_ovs.ops import atrous_pool2x2


def run_in_torch(node: Node, values: Mapping[str, Any], weights: NativeConvWeights) -> Any:
    """The node's value, given those of the nodes before it and the weights of convolutions. One of
    u8 or bf16 as the floats that its numbers stand for."""
    made = _value(node, values, weights)
    if node.bf16:
        return made.to(torch.bfloat16).to(torch.float32)
    if node.quant is None:
        return made
    # What is pooled is u8, of the same scale.
    return (rounded_averages if isinstance(node, Pool) else rounded)(made, node.quant)


def rounded(x: Tensor, quant: Quant) -> Tensor:
    """The floats nearest to x that u8 stands for."""
    steps = (x * (1.0 / quant.scale)).round() + quant.zero_point
    return (steps.clamp(0, 255) - quant.zero_point) * quant.scale


def rounded_averages(x: Tensor, quant: Quant) -> Tensor:
    """The same for averages of four numbers that u8 stands for: halves round up, as in the
    library."""
    sums = (x * (4.0 / quant.scale)).round() + 4 * quant.zero_point
    return (((sums + 2) / 4).floor().clamp(0, 255) - quant.zero_point) * quant.scale


def _value(node: Node, values: Mapping[str, Any], weights: NativeConvWeights) -> Any:
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, TorchNode):
        args = substitute(node.args, lambda ref: values[ref.name])
        kwargs = substitute(node.kwargs, lambda ref: values[ref.name])
        return node.target(*args, **kwargs)
    x = values[node.sources()[0]]
    if isinstance(node, View):
        return _view(node, x)
    if isinstance(node, AsMap):
        return x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)
    if isinstance(node, Conv):
        return _conv(node, x, values, weights)
    if isinstance(node, Pad):
        return F.pad(x, (*node.columns, *node.rows))
    if isinstance(node, BatchNorm):
        return F.batch_norm(x, node.mean, node.var, node.gamma, node.beta, False, 0.0, node.eps)
    if isinstance(node, LayerNorm):
        y = F.layer_norm(x.movedim(1, 3), x.shape[1:2], node.gamma, node.beta, node.eps)
        return y.movedim(3, 1)
    if isinstance(node, Activation):
        return _activation(node.kind, x)
    if isinstance(node, Convert):
        return x
    if isinstance(node, Scale):
        return x * node.factor[:, None, None]
    if isinstance(node, Shift):
        return x + node.constants.T.reshape(x.shape[1:])
    if isinstance(node, Tokens):
        return _tokens(node, x)
    if isinstance(node, Crop):
        return x.flatten(2)[:, :, None, node.first : node.first + node.count]
    if isinstance(node, Pool):
        return F.avg_pool2d(x, 2)
    if isinstance(node, AtrousPool):
        return atrous_pool2x2(x, node.dilation)
    if isinstance(node, Upsample2x):
        y = F.interpolate(x, scale_factor=2, mode="nearest")
        return y if node.residual is None else y + values[node.residual]
    if isinstance(node, Mean):
        return x.mean((2, 3), keepdim=True)
    if isinstance(node, Attention):
        return _attention(node, values)
    assert isinstance(node, Add)
    return values[node.left] + values[node.right]


def reason_for_torch(node: Node) -> str:
    """Why a node that has no native step has none."""
    if isinstance(node, TorchNode):
        return node.reason
    if isinstance(node, Constant):
        return "a constant"
    if isinstance(node, (View, AsMap)):
        return "between maps and torch's tensors"
    if isinstance(node, Attention):
        return "keys and values of two layers"
    if isinstance(node, Shift):
        return "no tokens to join it to"
    if isinstance(node, (Pad, BatchNorm, Activation, Scale, Add)):
        return "no convolution to join it to"
    return "no native step"


def _conv(node: Conv, x: Tensor, values: Mapping[str, Any], weights: NativeConvWeights) -> Tensor:
    # Padded first: torch's own kernels may end the process where a 1-wide one sees padding only.
    top, left = node.padding
    padded = F.pad(x, (left, left, top, top)) if top or left else x
    how = (node.stride, 0, node.dilation, node.groups)
    weight = weights.dense(node)
    if node.weight_scales is not None:
        scales = node.weight_scales.reshape(-1, 1, 1, 1)
        weight = integers_of(node, weight) * scales
    y = F.conv2d(padded, weight, node.bias, *how)
    if node.residual is not None:
        y = y + values[node.residual]
    return _activation(node.activation, y)


def _tokens(node: Tokens, x: Tensor) -> Tensor:
    pixels = x.flatten(2)
    before = pixels.new_zeros((*pixels.shape[:2], len(node.constants) - pixels.shape[2]))
    if node.mean:
        before += pixels.mean(2, keepdim=True)
    return (torch.cat([before, pixels], 2) + node.constants.T)[:, :, None]


def _view(view: View, x: Tensor) -> Tensor:
    # A tensor of torch's making may hold pixels that are no run: attention gives (N, H, C, W).
    if x.shape[2] > 1 and x.shape[3] > 1 and x.stride(2) != x.shape[3] * x.stride(3):
        x = x.contiguous()
    n, c, h, w = x.stride()
    # A map of one column has no stride between columns.
    strides = dict(zip(AXES, (n, c, w if x.shape[3] > 1 else h), strict=True))
    first = x.storage_offset() + sum(strides[axis] * start for axis, start in view.first)
    sizes = [factor.size for factor in view.factors]
    steps = [factor.stride * strides[factor.axis] for factor in view.factors]
    return x.as_strided(sizes, steps, first).reshape(view.shape)


def _activation(kind: str, x: Tensor) -> Tensor:
    if kind == "none":
        return x
    if kind == "relu":
        return F.relu(x)
    if kind == "relu6":
        return F.relu6(x)
    if kind == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if kind == "gelu_tanh" else "none")


def _attention(node: Attention, values: Mapping[str, Any]) -> Tensor:
    heads = []
    for name, first in zip(node.sources(), node.first, strict=True):
        x = values[name].flatten(2)[:, first : first + node.heads * node.depth]
        heads.append(x.unflatten(1, (node.heads, node.depth)).transpose(2, 3))
    y = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], scale=node.scale)
    batch, _, height, width = values[node.query].shape
    return y.transpose(2, 3).reshape(batch, -1, height, width)
