"""Lets the steps of a graph that have int8 kernels compute with u8 maps and s8 weights.

Values go from one such step to the next as u8. Between them and the others stand conversions, one
for each value and run of native steps: segments of a plan give and take floats alone.
"""

from __future__ import annotations

from sparse_ovs.engine.graph import Conv, Convert, Graph, Node, Pool, Quant
from sparse_ovs.engine.quantization import Quantization
from sparse_ovs.engine.records import step_labels

ACTIVATIONS = ("none", "relu", "relu6")  # that int8 kernels apply
_MOST_COLUMNS = (1 << 16) - 1  # of a weight: sums stay exact in 32 bits


def why_not_int8(conv: Conv) -> str:
    """Why a convolution has no int8 kernel; "" where it has one."""
    if conv.activation not in ACTIVATIONS:
        return f"no int8 kernel applies {conv.activation}"
    if conv.weight[0].numel() > _MOST_COLUMNS:
        return f"int8 sums hold at most {_MOST_COLUMNS} products"
    return ""


def to_int8(graph: Graph, quantization: Quantization) -> Graph:
    """Types the graph, in place.

    Args:
        graph: after its passes.
        quantization: of this graph.

    Raises:
        ValueError: it is that of another model; the layer is named.
    """
    labels = step_labels(graph)
    quantization.check(labels, [node for node in graph.nodes if isinstance(node, Conv)])
    return _Typing(graph, quantization, labels).run()


class _Typing:
    def __init__(self, graph: Graph, quantization: Quantization, labels: dict[str, str]) -> None:
        self.graph = graph
        self.quantization = quantization
        self.labels = labels
        self.made: list[Node] = []
        self.run_of: dict[str, int] = {}  # of each value that is u8: the run of steps it lives in
        self.quants: dict[str, Quant] = {}  # of each value that is or will be converted
        self.converted: dict[tuple[str, int | None], str] = {}  # names: of u8 by run, of floats

    def run(self) -> Graph:
        number = 0
        for node in self.graph.nodes:
            if not node.is_native():
                number += 1
            if self._is_int8(node, number):
                self._type(node, number)
            else:
                for name in dict.fromkeys(node.sources()):
                    node.rename(name, self._floats(name))
            self.made.append(node)
        self.graph.outputs = [self._floats(name) for name in self.graph.outputs]
        self.graph.nodes = self.made
        return self.graph

    def _is_int8(self, node: Node, number: int) -> bool:
        if isinstance(node, Pool):
            return self.run_of.get(node.source) == number
        if not isinstance(node, Conv):
            return False
        node.note = why_not_int8(node)
        if self.labels[node.name] in self.quantization.excluded:
            node.note = "kept in fp32, as asked for"
        return not node.note

    def _type(self, node: Node, number: int) -> None:
        label = self.labels[node.name]
        if isinstance(node, Conv):
            node.weight_scales = self.quantization.weight_scales[label]
            for name in dict.fromkeys(node.sources()):
                node.rename(name, self._bytes(name, number))
            node.quant = self.quantization.values[label]
        else:  # an average is of the same range
            node.quant = self.quants[node.sources()[0]]
        self.quants[node.name] = node.quant
        self.run_of[node.name] = number

    def _bytes(self, name: str, number: int) -> str:
        """The name of the value as u8 in a run of native steps."""
        if self.run_of.get(name) == number:
            return name
        key = (name, number)
        if key not in self.converted:
            source = self._floats(name)
            quant = self.quants.get(name) or self.quantization.values[self.labels[name]]
            self.made.append(Convert(f"{name}_u8_{number}", source, quant=quant))
            self.converted[key] = self.made[-1].name
        return self.converted[key]

    def _floats(self, name: str) -> str:
        """The name of the value as floats, which are made where it is."""
        if name not in self.run_of:
            return name
        if (name, None) not in self.converted:
            place = next(i for i, node in enumerate(self.made) if node.name == name)
            self.made.insert(place + 1, Convert(f"{name}_f32", name))
            self.converted[name, None] = f"{name}_f32"
        return self.converted[name, None]
