"""Reads linear layers, norms, attention, and what turns maps into tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparse_ovs.engine.graph import Attention, Conv, LayerNorm, Mean, Tokens
from sparse_ovs.engine.importer.handlers import (
    Call,
    handles,
    is_float_weight,
    is_optional_tensor,
)
from sparse_ovs.engine.importer.values import Mapped, along_axes

aten = torch.ops.aten


@handles(aten.linear.default)
def _linear(call: Call) -> Any:
    return _pointwise(call, "input", call["weight"], call["bias"])


@handles(aten.matmul.default)
def _matmul(call: Call) -> Any:
    matrix = call["other"]
    if not isinstance(matrix, Tensor) or matrix.dim() != 2:
        return None
    return _pointwise(call, "self", matrix.T.contiguous(), None)


def _pointwise(call: Call, x: str, weight: Any, bias: Any) -> Any:
    if not is_float_weight(weight) or not is_optional_tensor(bias):
        return None
    tokens = call.values.as_tokens(call[x], call.shape_of(x))
    if tokens is None:
        return None
    kernel = weight[:, :, None, None]
    conv = Conv(call.name, tokens.name, kernel, bias, (1, 1), (0, 0), (1, 1), 1)
    return call.values.add(conv, tokens)


@handles(aten.layer_norm.default)
def _layer_norm(call: Call) -> Any:
    x, gamma, beta = call["input"], call["weight"], call["bias"]
    if not isinstance(x, Mapped) or len(call["normalized_shape"]) != 1:
        return None
    if not is_optional_tensor(gamma) or not is_optional_tensor(beta):
        return None
    tokens = call.values.as_tokens(x, call.shape)
    if tokens is None:
        return None
    return call.values.add(LayerNorm(call.name, tokens.name, gamma, beta, call["eps"]), tokens)


@handles(aten.scaled_dot_product_attention.default)
def _attention(call: Call) -> Any:
    query, key, value = parts = [call[name] for name in ("query", "key", "value")]
    if call["attn_mask"] is not None or call["dropout_p"] or call["is_causal"]:
        return None
    if len(call.shape) != 4 or not all(isinstance(part, Mapped) for part in parts):
        return None
    _, heads, _, depth = call.shape
    if not all(part.is_heads(heads, depth) for part in parts) or key.sizes[2:] != value.sizes[2:]:
        return None
    if any(part.sizes[0] != call.shape[0] for part in parts):
        return None
    scale = depth**-0.5 if call["scale"] is None else call["scale"]
    first = (query.dims.start("c"), key.dims.start("c"), value.dims.start("c"))
    names = (query.name, key.name, value.name)
    attention = Attention(call.name, *names, first, heads, depth, scale)
    return call.values.add(attention).viewed_as_heads(heads, depth)


@handles(aten.mean.dim)
def _mean(call: Call) -> Any:
    whole = call.values.whole(call["self"])
    if whole is None or not call["keepdim"] or call["dtype"] is not None:
        return None
    all_dims = range(len(whole.dims.factors))
    over = {all_dims[dim] for dim in call["dim"] or all_dims}
    averaged = {f.axis for dim in over for f in whole.dims.factors[dim]}
    left = {f.axis for d, dim in enumerate(whole.dims.factors) if d not in over for f in dim}
    if averaged != {"p"} or "p" in left:
        return None
    return call.values.add(Mean(call.name, whole.name)).viewed_like(whole, call.shape)


@handles(aten.cat.default)
def _cat(call: Call) -> Any:
    """Class tokens, constant or the mean of the pixels, before the pixels."""
    if len(call["tensors"]) != 2:
        return None
    before, pixels = call["tensors"][0], call.values.whole(call["tensors"][1])
    if pixels is None:
        return None
    dim = call["dim"] % len(pixels.dims.factors)
    if not pixels.dims.is_run(dim, "p"):
        return None
    _, channels, height, width = pixels.sizes
    count = call.shape[dim] - height * width
    constants = torch.zeros(call.shape[dim], channels)
    is_mean = False
    if isinstance(before, Tensor):
        own = along_axes(pixels.with_pixels(dim, count), before)
        if own is None:
            return None
        constants[:count] = own
    else:
        is_mean = _is_mean(call, before, pixels.with_pixels(dim, 1))
        if not is_mean:
            return None
    tokens = call.values.add(Tokens(call.name, pixels.name, constants, is_mean))
    return tokens.viewed_as(pixels.with_pixels(dim, call.shape[dim]).dims)


def _is_mean(call: Call, value: Any, pixel: Mapped) -> bool:
    """The mean of the pixels of a map, as the tensor that `pixel` is."""
    if not isinstance(value, Mapped) or value.dims != pixel.dims:
        return False
    mean = call.values.graph.node(value.name)
    return isinstance(mean, Mean) and mean.source == pixel.name
