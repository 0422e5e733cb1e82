"""Lets the steps of a graph that have int8 kernels compute with u8 maps and s8 weights."""

from __future__ import annotations

from sparse_ovs.engine.graph import Conv, Convert, Graph, Node, Pool, Quant
from sparse_ovs.engine.narrow import Narrowing
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
    return _Int8(graph, quantization, labels).run()


class _Int8(Narrowing):
    def __init__(self, graph: Graph, quantization: Quantization, labels: dict[str, str]) -> None:
        super().__init__(graph)
        self.quantization = quantization
        self.labels = labels
        self.quants: dict[str, Quant] = {}  # of each value that is or will be converted

    def takes(self, node: Node, number: int) -> bool:
        if isinstance(node, Pool):
            return self.run_of.get(node.source) == number
        if not isinstance(node, Conv):
            return False
        node.note = why_not_int8(node)
        if self.labels[node.name] in self.quantization.excluded:
            node.note = "kept in fp32, as asked for"
        return not node.note

    def set_type(self, node: Node, number: int) -> None:
        label = self.labels[node.name]
        if isinstance(node, Conv):
            node.weight_scales = self.quantization.weight_scales[label]
            for name in dict.fromkeys(node.sources()):
                node.rename(name, self.narrow(name, number))
            node.quant = self.quantization.values[label]
        else:  # an average is of the same range
            node.quant = self.quants[node.sources()[0]]
        self.quants[node.name] = node.quant

    def conversion(self, name: str, source: str, number: int) -> Convert:
        quant = self.quants.get(name) or self.quantization.values[self.labels[name]]
        return Convert(f"{name}_u8_{number}", source, quant=quant)
