"""Lets the steps of a graph that have int8 kernels compute with u8 maps and s8 weights.

Values go from one such step to the next as u8. Between them and the others stand conversions, one
for each value and run of native steps: segments of a plan give and take floats alone. Transformers
and ConvNeXts need none: their LayerNorms and attentions write u8 for the layers that read them, and
layers write floats for what reads floats. What they add to, step by step, holds outliers, and stays
in floats.
"""

from __future__ import annotations

from collections import defaultdict

from sparse_ovs.engine.graph import (
    Attention,
    Conv,
    Convert,
    Graph,
    LayerNorm,
    Node,
    Pool,
    Quant,
    Tokens,
)
from sparse_ovs.engine.narrow import Narrowing
from sparse_ovs.engine.quantization import Quantization
from sparse_ovs.engine.records import step_labels

_MOST_COLUMNS = (1 << 16) - 1  # of a weight: sums stay exact in 32 bits
_FLOAT_STEPS = (LayerNorm, Attention, Tokens)  # that read floats and make them


def why_not_int8(conv: Conv) -> str:
    """Why a convolution has no int8 kernel; "" where it has one."""
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
        self.behind: set[str] = set()  # values that are made of what _FLOAT_STEPS make
        self.numbers: dict[str, int] = {}  # of each node: the run of steps that it is in
        self.readers: defaultdict[str, list[Node]] = defaultdict(list)  # of each value
        number = 0
        for node in graph.nodes:
            number += not node.is_native()
            self.numbers[node.name] = number
            for name in node.sources():
                self.readers[name].append(node)

    def takes(self, node: Node, number: int) -> bool:
        if isinstance(node, _FLOAT_STEPS) or not self.behind.isdisjoint(node.sources()):
            self.behind.add(node.name)
        if isinstance(node, Pool):
            return self.run_of.get(node.source) == number
        if not isinstance(node, Conv):
            return False
        node.note = self._why_not(node)
        return not node.note

    def _why_not(self, conv: Conv) -> str:
        if self.labels[conv.name] in self.quantization.excluded:
            return "kept in fp32, as asked for"
        return why_not_int8(conv)

    def set_type(self, node: Node, number: int) -> None:
        label = self.labels[node.name]
        if isinstance(node, Pool):  # an average is of the same range
            return self._make_bytes(node, self.quants[node.source])
        assert isinstance(node, Conv)
        node.weight_scales = self.quantization.weight_scales[label]
        makes_floats = self._makes_floats(node)
        node.source = self.narrow(node.source, number)
        if node.residual is not None:
            residual = node.residual
            node.residual = self.floats(residual) if makes_floats else self.narrow(residual, number)
        if not makes_floats:
            self._make_bytes(node, self.quantization.values[label])

    def stays(self, node: Node) -> None:
        if isinstance(node, (LayerNorm, Attention)) and self._only_bytes(node):
            self._make_bytes(node, self.quantization.values[self.labels[node.name]])

    def _make_bytes(self, node: Node, quant: Quant) -> None:
        node.quant = self.quants[node.name] = quant
        self.run_of[node.name] = self.numbers[node.name]

    def _makes_floats(self, conv: Conv) -> bool:
        if conv.residual is not None:
            return conv.residual in self.behind and conv.residual not in self.run_of
        if self._only_bytes(conv):
            return False
        readers = self.readers[conv.name]
        return conv.name in self.behind or any(isinstance(node, _FLOAT_STEPS) for node in readers)

    def _only_bytes(self, node: Node) -> bool:
        """Whether all that reads a node's value are layers that multiply it as u8."""
        readers = self.readers[node.name]
        return (
            node.name not in self.graph.outputs
            and len(readers) > 0
            and all(
                isinstance(reader, Conv)
                and reader.residual != node.name
                and self.numbers[reader.name] == self.numbers[node.name]
                and not self._why_not(reader)
                for reader in readers
            )
        )

    def conversion(self, name: str, source: str, number: int) -> Convert:
        quant = self.quants.get(name) or self.quantization.values[self.labels[name]]
        return Convert(f"{name}_u8_{number}", source, quant=quant)
