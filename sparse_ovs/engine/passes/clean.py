"""Removes what nobody reads."""

from __future__ import annotations

from sparse_ovs.engine.graph import Graph, Node
from sparse_ovs.engine.torch_nodes import TorchNode


def remove_unused(graph: Graph) -> None:
    """Drops nodes without effect whose values are not read, and then those that they read."""
    for node in reversed(graph.nodes.copy()):
        if graph.uses()[node.name] == 0 and not _has_effect(node):
            graph.nodes.remove(node)


def _has_effect(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None) if isinstance(node, TorchNode) else None
    return schema is not None and (schema.is_mutable or not schema.returns)
