"""Gives attention the projections that it needs, as few linear layers as can be."""

from __future__ import annotations

import torch

from sparse_ovs.engine.graph import Attention, Conv, Graph
from sparse_ovs.engine.passes.edit import plain_conv


def join_projections(graph: Graph) -> None:
    """Linear layers of one source that only one attention reads become one."""
    for attention in [node for node in graph.nodes if isinstance(node, Attention)]:
        if attention.key == attention.value:
            continue
        joined = [_projection(graph, name) for name in (attention.key, attention.value)]
        query = _projection(graph, attention.query)
        key, value = joined
        if key is None or value is None or key.source != value.source:
            continue
        parts = [key, value]
        if query is not None and query.source == key.source and query is not key:
            parts.append(query)
        name = _join(graph, parts)
        starts = [0, key.weight.shape[0], key.weight.shape[0] + value.weight.shape[0]]
        first = [start + offset for start, offset in zip(starts, _first_of(attention), strict=True)]
        attention.key = attention.value = name
        if len(parts) == 3:
            attention.query = name
        else:
            first[2] = attention.first[0]
        attention.first = (first[2], first[0], first[1])


def _first_of(attention: Attention) -> tuple[int, int, int]:
    """Of keys, values and queries."""
    query, key, value = attention.first
    return key, value, query


def _projection(graph: Graph, name: str) -> Conv | None:
    conv = plain_conv(graph, name)
    return conv if conv is not None and conv.is_pointwise() else None


def _join(graph: Graph, parts: list[Conv]) -> str:
    """One linear layer with the outputs of all of them side by side, in place of the first."""
    whole = parts[0]
    whole_bias = [
        torch.zeros(part.weight.shape[0]) if part.bias is None else part.bias for part in parts
    ]
    joined = Conv(
        "_".join(part.name for part in parts),
        whole.source,
        torch.cat([part.weight for part in parts]),
        torch.cat(whole_bias),
        whole.stride,
        whole.padding,
        whole.dilation,
        whole.groups,
    )
    graph.nodes[graph.nodes.index(whole)] = joined
    for part in parts[1:]:
        graph.nodes.remove(part)
    return joined.name
