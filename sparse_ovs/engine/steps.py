"""The native library's step for each kind of node."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.engine.graph import (
    ACTIVATIONS,
    AtrousPool,
    Attention,
    Conv,
    Crop,
    LayerNorm,
    Node,
    Pool,
    Tokens,
)
from sparse_ovs.engine.weights import NativeConvWeights


def is_native(node: Node) -> bool:
    """The native library has a step for the node."""
    if isinstance(node, Attention):
        return node.key == node.value
    return isinstance(node, (Conv, Pool, AtrousPool, LayerNorm, Tokens, Crop))


def add_step(
    plan: _native.Plan,
    node: Node,
    maps: Mapping[str, int],
    channels: int,
    weights: NativeConvWeights,
    tuning: _native.Tuning | None,
) -> None:
    """Adds the step of a native node to a plan; maps go by the names of their values, `channels`
    are those of its own, `tuning` that of a convolution."""
    target = maps[node.name]
    if isinstance(node, Conv):
        residual = None if node.residual is None else maps[node.residual]
        kind = ACTIVATIONS.index(node.activation)
        how = (node.stride, node.padding, node.dilation, kind, residual, tuning)
        plan.conv2d(weights[node], maps[node.source], target, *how)
    elif isinstance(node, Attention):
        query = None if node.query == node.key else maps[node.query]
        how_many = (node.heads, node.depth)
        plan.attention(maps[node.key], query, target, *how_many, node.first, node.scale)
    elif isinstance(node, LayerNorm):
        gamma, beta = _dense(node.gamma), _dense(node.beta)
        plan.layer_norm(maps[node.source], target, channels, _at(gamma), _at(beta), node.eps)
    elif isinstance(node, Tokens):
        constants = node.constants.contiguous()
        tokens, at = constants.shape[0], constants.data_ptr()
        plan.tokens(maps[node.source], target, tokens, channels, at, node.mean)
    elif isinstance(node, Crop):
        plan.crop(maps[node.source], target, node.first)
    elif isinstance(node, AtrousPool):
        plan.atrous_pool2x2(maps[node.source], target, node.dilation)
    else:
        assert isinstance(node, Pool)
        plan.avg_pool2x2(maps[node.source], target)


def _dense(vector: Tensor | None) -> Tensor | None:
    return None if vector is None else vector.contiguous()


def _at(vector: Tensor | None) -> int | None:
    return None if vector is None else vector.data_ptr()
