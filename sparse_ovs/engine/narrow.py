"""Lets the steps of a graph that have kernels for narrow numbers, u8 or bf16, compute with them.

Values go from one such step to the next as narrow ones. Between them and the others stand
conversions, one for each value and run of native steps: segments of a plan give and take floats
alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from sparse_ovs.engine.graph import Convert, Graph, Node


class Narrowing(ABC):
    """Types a graph, in place; what is narrow, its subclasses say."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made: list[Node] = []
        self.run_of: dict[str, int] = {}  # of each value that is narrow: the run of steps it is in
        self.converted: dict[tuple[str, int | None], str] = {}  # names: of narrow ones by run

    @abstractmethod
    def takes(self, node: Node, number: int) -> bool:
        """Whether the node computes with narrow numbers in that run of native steps; a convolution
        that does not gets its note."""

    @abstractmethod
    def set_type(self, node: Node, number: int) -> None:
        """Says so of such a node: what it reads becomes narrow, and what it makes (`run_of`)."""

    def stays(self, node: Node) -> None:  # noqa: B027 - most have nothing to do
        """Is called with each of the other nodes, whose sources are floats by then."""

    @abstractmethod
    def conversion(self, name: str, source: str, number: int) -> Convert:
        """Of the value `name` into a narrow one; its floats are called `source`."""

    def run(self) -> Graph:
        """The graph."""
        number = 0
        for node in self.graph.nodes:
            if not node.is_native():
                number += 1
            if self.takes(node, number):
                self.set_type(node, number)
            else:
                for name in dict.fromkeys(node.sources()):
                    node.rename(name, self.floats(name))
                self.stays(node)
            self.made.append(node)
        self.graph.outputs = [self.floats(name) for name in self.graph.outputs]
        self.graph.nodes = self.made
        return self.graph

    def narrow(self, name: str, number: int) -> str:
        """The name of the value as a narrow one in a run of native steps."""
        if self.run_of.get(name) == number:
            return name
        key = (name, number)
        if key not in self.converted:
            self.made.append(self.conversion(name, self.floats(name), number))
            self.converted[key] = self.made[-1].name
        return self.converted[key]

    def floats(self, name: str) -> str:
        """The name of the value as floats, which are made where it is."""
        if name not in self.run_of:
            return name
        if (name, None) not in self.converted:
            place = next(i for i, node in enumerate(self.made) if node.name == name)
            self.made.insert(place + 1, Convert(f"{name}_f32", name))
            self.converted[name, None] = f"{name}_f32"
        return self.converted[name, None]
