"""Fuses activations and residual adds into the convolutions before them."""

from __future__ import annotations

from sparse_ovs.engine.graph import Activation, Add, Conv, Graph
from sparse_ovs.engine.passes.edit import absorb, plain_conv


def fuse_activations(graph: Graph) -> None:
    """conv -> activation becomes one step."""
    for activation in [node for node in graph.nodes if isinstance(node, Activation)]:
        conv = graph.node(activation.source)
        single = isinstance(conv, Conv) and graph.uses()[conv.name] == 1
        if isinstance(conv, Conv) and single and conv.activation == "none":
            conv.activation = activation.kind
            absorb(graph, activation.name, conv)


def fuse_residuals(graph: Graph) -> None:
    """conv -> add(., other) becomes one step, at the place of the add, where both are known."""
    for add in [node for node in graph.nodes if isinstance(node, Add)]:
        # The later one: what it waits for is closer.
        places = {node.name: place for place, node in enumerate(graph.nodes)}
        for name in sorted(add.sources(), key=lambda n: places.get(n, -1), reverse=True):
            conv = plain_conv(graph, name)
            other = add.right if name == add.left else add.left
            if conv is None or other == name:
                continue
            conv.residual = other
            graph.nodes.remove(conv)
            graph.nodes.insert(graph.nodes.index(add), conv)
            absorb(graph, add.name, conv)
            break
