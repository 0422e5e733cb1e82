"""Passes over the engine's graph: fold BatchNorm, fuse residual adds and ReLU into convolutions."""

from __future__ import annotations

from sparse_ovs.engine.graph import Add, BatchNorm, Conv, Graph, Relu
from sparse_ovs.ops.streams import fold_norm


def optimise(graph: Graph) -> Graph:
    """Runs every pass, in place."""
    fold_batch_norms(graph)
    fuse_relus(graph)
    fuse_residuals(graph)
    fuse_relus(graph)
    return graph


def fold_batch_norms(graph: Graph) -> None:
    """conv -> batch_norm becomes a conv with scaled weights and another bias."""
    for norm in [node for node in graph.nodes if isinstance(node, BatchNorm)]:
        conv = graph.node(norm.source)
        if not _takes_more(graph, conv):
            continue
        assert isinstance(conv, Conv)
        vectors = [norm.gamma, norm.beta, norm.mean, norm.var]
        scale, conv.bias = fold_norm(conv.bias, vectors, norm.eps, conv.weight.shape[0])
        conv.weight = conv.weight * scale[:, None, None, None]
        _absorb(graph, norm.name, conv)


def fuse_relus(graph: Graph) -> None:
    """conv -> relu becomes one step."""
    for relu in [node for node in graph.nodes if isinstance(node, Relu)]:
        conv = graph.node(relu.source)
        if isinstance(conv, Conv) and not conv.relu and graph.uses()[conv.name] == 1:
            conv.relu = True
            _absorb(graph, relu.name, conv)


def fuse_residuals(graph: Graph) -> None:
    """conv -> add(., other) becomes one step, at the place of the add, where both are known."""
    for add in [node for node in graph.nodes if isinstance(node, Add)]:
        # The later one: what it waits for is closer.
        places = {node.name: place for place, node in enumerate(graph.nodes)}
        for name in sorted(add.sources(), key=lambda n: places.get(n, -1), reverse=True):
            conv = graph.node(name)
            other = add.right if name == add.left else add.left
            if not _takes_more(graph, conv) or other == name:
                continue
            assert isinstance(conv, Conv)
            conv.residual = other
            graph.nodes.remove(conv)
            graph.nodes.insert(graph.nodes.index(add), conv)
            _absorb(graph, add.name, conv)
            break


def _takes_more(graph: Graph, node: object) -> bool:
    """A convolution whose plain sums nobody else reads."""
    return (
        isinstance(node, Conv)
        and not node.relu
        and node.residual is None
        and graph.uses()[node.name] == 1
    )


def _absorb(graph: Graph, name: str, conv: Conv) -> None:
    """The convolution takes the place of the node `name`."""
    graph.nodes = [node for node in graph.nodes if node.name != name]
    graph.replace(name, conv.name)
