"""What several passes do to a graph."""

from __future__ import annotations

from sparse_ovs.engine.graph import Conv, Graph, Node, Summing


def plain_conv(graph: Graph, name: str) -> Conv | None:
    """The convolution that makes a value, if its plain sums are read once."""
    node = plain_sum(graph, name)
    return node if isinstance(node, Conv) else None


def plain_sum(graph: Graph, name: str) -> Summing | None:
    """The node that makes a value, if it could add another one and its plain value is read once."""
    node = graph.node(name)
    single = isinstance(node, Summing) and node.is_plain() and graph.uses()[name] == 1
    return node if isinstance(node, Summing) and single else None


def absorb(graph: Graph, name: str, by: Node) -> None:
    """`by` takes the place of the node `name`."""
    graph.nodes = [node for node in graph.nodes if node.name != name]
    graph.replace(name, by.name)
