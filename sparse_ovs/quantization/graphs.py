"""Graphs of a model that run in torch: one for inputs of many shapes, and the values of a run."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sparse_ovs.engine.export import export_graph
from sparse_ovs.engine.graph import Graph, Node
from sparse_ovs.engine.in_torch import run_in_torch
from sparse_ovs.engine.weights import NativeConvWeights
from sparse_ovs.nn.plain import plain_copy


class Graphs:
    """One graph serves inputs of all shapes, unless its nodes hold the size that was exported.

    Args:
        model: what compile takes; not changed.
    """

    def __init__(self, model: nn.Module) -> None:
        self._plain = plain_copy(model)
        self._graph: Graph | None = None
        self._shape: tuple[int, ...] = ()

    def of(self, x: Tensor) -> Graph:
        """The graph that runs x, the same object as before where that one does."""
        if self._graph is not None and not any(node.holds_size for node in self._graph.nodes):
            return self._graph
        if self._graph is None or tuple(x.shape) != self._shape:
            self._graph, _ = export_graph(self._plain, x)
            self._shape = tuple(x.shape)
        return self._graph


class Values:
    """Values of a graph while its nodes run one by one, each until nothing more reads it.

    Attributes:
        made: by name.
    """

    def __init__(self, graph: Graph, x: Tensor) -> None:
        self.made: dict[str, Any] = {graph.input: x}
        self._left = graph.uses()
        self._weights = NativeConvWeights()

    def run(self, node: Node) -> Any:
        """The node's value, which is kept."""
        value = self.made[node.name] = run_in_torch(node, self.made, self._weights)
        return value

    def let_go(self, node: Node) -> None:
        """Forgets what the node was the last to read."""
        for name in node.sources():
            self._left[name] -= 1
            if self._left[name] == 0:
                del self.made[name]
