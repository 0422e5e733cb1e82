"""Runs in torch the nodes that the native library has no step for."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.engine.dims import AXES
from sparse_ovs.engine.graph import (
    Activation,
    Add,
    AsMap,
    Attention,
    BatchNorm,
    Mean,
    Node,
    Scale,
    Shift,
    TorchNode,
    View,
    substitute,
)


def run_in_torch(node: Node, values: dict[str, Any]) -> Any:
    """The node's value, given those of the nodes before it."""
    if isinstance(node, TorchNode):
        args = substitute(node.args, lambda ref: values[ref.name])
        kwargs = substitute(node.kwargs, lambda ref: values[ref.name])
        return node.target(*args, **kwargs)
    x = values[node.sources()[0]]
    if isinstance(node, View):
        return _view(node, x)
    if isinstance(node, AsMap):
        return x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)
    if isinstance(node, BatchNorm):
        return F.batch_norm(x, node.mean, node.var, node.gamma, node.beta, False, 0.0, node.eps)
    if isinstance(node, Activation):
        return _activation(node.kind, x)
    if isinstance(node, Scale):
        return x * node.factor[:, None, None]
    if isinstance(node, Shift):
        return x + node.constants.T.reshape(x.shape[1:])
    if isinstance(node, Mean):
        return x.mean((2, 3), keepdim=True)
    if isinstance(node, Attention):
        return _attention(node, values)
    assert isinstance(node, Add)
    return values[node.left] + values[node.right]


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
    if kind == "relu":
        return F.relu(x)
    if kind == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if kind == "gelu_tanh" else "none")


def _attention(node: Attention, values: dict[str, Any]) -> Tensor:
    heads = []
    for name, first in zip(node.sources(), node.first, strict=True):
        x = values[name].flatten(2)[:, first : first + node.heads * node.depth]
        heads.append(x.unflatten(1, (node.heads, node.depth)).transpose(2, 3))
    y = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], scale=node.scale)
    batch, _, height, width = values[node.query].shape
    return y.transpose(2, 3).reshape(batch, -1, height, width)
