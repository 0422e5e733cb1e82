"""What several passes do to a graph."""

from __future__ import annotations

from sparse_ovs.engine.graph import Conv, Graph, Node


def plain_conv(graph: Graph, name: str) -> Conv | None:
    """The convolution that makes a value, if its plain sums are read once."""
    node = graph.node(name)
    single = isinstance(node, Conv) and node.is_plain() and graph.uses()[name] == 1
    return node if isinstance(node, Conv) and single else None


def absorb(graph: Graph, name: str, by: Node) -> None:
    """`by` takes the place of the node `name`."""
    graph.nodes = [node for node in graph.nodes if node.name != name]
    graph.replace(name, by.name)
