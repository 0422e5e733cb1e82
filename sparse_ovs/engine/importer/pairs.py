"""Reads what torch's PT2E flow writes: pairs that quantise and dequantise, and s8 weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from sparse_ovs.engine.graph import Convert, Quant
from sparse_ovs.engine.importer.handlers import Call, handles

aten = torch.ops.aten

# By name: torch registers them when its quantisers are imported.
_OPS = "quantized_decomposed"
_QUANTISE = f"{_OPS}.quantize_per_tensor.default"
_DEQUANTISE = f"{_OPS}.dequantize_per_tensor.default"
_DEQUANTISE_WEIGHT = f"{_OPS}.dequantize_per_channel.default"


def is_quantised(model: object) -> bool:
    """A model that convert_pt2e made: it brings its own scales."""
    graph = getattr(model, "graph", None)
    return isinstance(graph, fx.Graph) and any(
        str(node.target).startswith(f"{_OPS}.") for node in graph.nodes
    )


def join_pairs(graph: fx.Graph) -> None:
    """Makes one operation of each pair of a program: what rounds floats to those of integers."""
    for node in list(graph.nodes):
        if str(node.target) != _QUANTISE or not node.users:
            continue
        readers = list(node.users)
        if not all(_dequantises(reader, node) for reader in readers):
            continue
        with graph.inserting_after(node):
            target = aten.fake_quantize_per_tensor_affine.default
            joined = graph.create_node("call_function", target, node.args[:5], name="rounded")
        joined.meta = dict(readers[0].meta)
        for reader in readers:
            reader.replace_all_uses_with(joined)
            graph.erase_node(reader)
        graph.erase_node(node)


def _dequantises(node: fx.Node, quantised: fx.Node) -> bool:
    same = str(node.target) == _DEQUANTISE and node.args[0] is quantised
    return same and node.args[1:6] == quantised.args[1:6] and not node.kwargs.get("out_dtype")


@handles(aten.fake_quantize_per_tensor_affine.default)
def _rounded(call: Call) -> Any:
    quant = _u8(call["scale"], call["zero_point"], call["quant_min"], call["quant_max"])
    whole = None if quant is None else call.values.whole(call["self"])
    if whole is None:
        return None
    integers = call.values.add(Convert(f"{call.name}_u8", whole.name, quant=quant), whole)
    return call.values.add(Convert(call.name, integers.name), whole)


def _u8(scale: float, zero_point: int, least: int, most: int) -> Quant | None:
    """What u8 numbers stand for in place of those from least to most; None where they are others
    than 256."""
    if most - least != 255 or not least <= zero_point <= most:
        return None
    return Quant(float(torch.tensor(scale, dtype=torch.float32)), zero_point - least)


def weight_scales(node: fx.Node, known: Mapping[fx.Node, Any]) -> Tensor | None:
    """The scales (O,) of a convolution's or linear layer's weight where that is s8, symmetric, by
    output channel.

    Args:
        node: of the program.
        known: what its nodes stand for.
    """
    weight = node.args[1] if len(node.args) > 1 else None
    if not isinstance(weight, fx.Node) or str(weight.target) != _DEQUANTISE_WEIGHT:
        return None
    arguments: Any = fx.map_arg(weight.args, lambda n: known[n])
    integers, scales, zero_points, axis = arguments[:4]
    symmetric = zero_points is None or not bool(zero_points.any())
    if axis != 0 or integers.dtype != torch.int8 or not symmetric:
        return None
    return scales.to(torch.float32) if bool((scales > 0).all()) else None
