"""Reads views: what only says how the numbers of a map are arranged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sparse_ovs.engine.dims import Dims
from sparse_ovs.engine.importer.handlers import Call, handles, is_value, made_by, makes_float32
from sparse_ovs.engine.importer.values import Mapped

aten = torch.ops.aten


@handles(
    aten.view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.unsqueeze.default,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.contiguous.default,
    aten.detach.default,
)
def _view(call: Call) -> Any:
    return _viewed(call, lambda x: x.dims.view(call.shape))


@handles(aten.to.dtype, aten.expand.default)
def _same(call: Call) -> Any:
    # Values are float32 here, before and after.
    same = is_value(call["self"]) and call.shape_of("self") == call.shape
    return call["self"] if same and makes_float32(call.given["self"]) else None


@handles(aten.permute.default)
def _permute(call: Call) -> Any:
    return _viewed(call, lambda x: x.dims.permute(call["dims"]))


@handles(aten.transpose.int)
def _transpose(call: Call) -> Any:
    order = list(range(len(call.shape)))
    a, b = call["dim0"], call["dim1"]
    order[a], order[b] = order[b], order[a]
    return _viewed(call, lambda x: x.dims.permute(order))


@handles(aten.select.int)
def _select(call: Call) -> Any:
    dim, index = call["dim"], call["index"]

    def select(x: Mapped) -> Dims | None:
        one = x.dims.narrow(dim, index % x.dims.shape()[dim], 1)
        return None if one is None else one.view(call.shape)

    return _viewed(call, select)


@handles(aten.slice.Tensor)
def _slice(call: Call) -> Any:
    if call["step"] != 1:
        return None
    dim, start = call["dim"], call["start"] or 0

    def narrow(x: Mapped) -> Dims | None:
        size = x.dims.shape()[dim]
        first = min(max(0, start + size), size) if start < 0 else min(start, size)
        return x.dims.narrow(dim, first, call.shape[dim])

    return _viewed(call, narrow)


@handles(aten.chunk.default, aten.split.Tensor)
def _chunk(call: Call) -> Any:
    x, dim = call["self"], call["dim"]
    if not isinstance(x, Mapped):
        return None
    parts: list[Mapped] = []
    start = 0
    for part in made_by(call.node):
        dims = x.dims.narrow(dim, start, part.shape[dim])
        if dims is None:
            return None
        parts.append(x.viewed_as(dims))
        start += part.shape[dim]
    return parts


def _viewed(call: Call, dims_of: Callable[[Mapped], Dims | None]) -> Any:
    """The first argument, if it is a view of a map, with other dimensions."""
    x = call["input"] if "input" in call.named else call["self"]
    dims = dims_of(x) if isinstance(x, Mapped) else None
    return None if dims is None else x.viewed_as(dims)
