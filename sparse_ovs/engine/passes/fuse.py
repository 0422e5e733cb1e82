"""Fuses activations into the convolutions before them, and adds into what can take a residual."""

from __future__ import annotations

from sparse_ovs.engine.graph import Activation, Add, Conv, Graph
from sparse_ovs.engine.passes.edit import absorb, plain_sum


def fuse_activations(graph: Graph) -> None:
    """conv -> activation becomes one step."""
    for activation in [node for node in graph.nodes if isinstance(node, Activation)]:
        conv = graph.node(activation.source)
        single = isinstance(conv, Conv) and graph.uses()[conv.name] == 1
        if isinstance(conv, Conv) and single and conv.activation == "none":
            conv.activation = activation.kind
            absorb(graph, activation.name, conv)


def fuse_residuals(graph: Graph) -> None:
    """conv -> add(., other) becomes one step, at the place of the add, where both are known; so
    does any other node that can take a residual."""
    for add in [node for node in graph.nodes if isinstance(node, Add)]:
        if add.left == add.right:
            continue
        sides = [(plain_sum(graph, add.left), add.right), (plain_sum(graph, add.right), add.left)]
        takers = [(node, other) for node, other in sides if node is not None]
        if not takers:
            continue
        places = {node.name: place for place, node in enumerate(graph.nodes)}
        # A convolution first, which takes an activation too; of two, the later one: what it waits
        # for is closer.
        taker, other = max(takers, key=lambda t: (isinstance(t[0], Conv), places[t[0].name]))
        taker.residual = other
        graph.nodes.remove(taker)
        graph.nodes.insert(graph.nodes.index(add), taker)
        absorb(graph, add.name, taker)
