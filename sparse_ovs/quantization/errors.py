"""layer_errors: what each layer's quantisation adds to the error of an int8 encoder."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.engine import Quantization
from sparse_ovs.engine.graph import Conv, Graph, Node
from sparse_ovs.engine.in_torch import rounded, run_in_torch
from sparse_ovs.engine.int8 import to_int8
from sparse_ovs.engine.records import step_labels
from sparse_ovs.engine.weights import NativeConvWeights
from sparse_ovs.quantization.batches import Batches, tensors_of
from sparse_ovs.quantization.graphs import Graphs, Values


@dataclass(frozen=True)
class LayerError:
    """How far a layer's maps are from those in fp32: the norm of the difference, over all images,
    by that of the maps in fp32.

    Attributes:
        layer: its name, as compiled encoders show it.
        alone: where all layers but this one compute in fp32; 0 for one that does too.
        whole: where all layers of the int8 encoder compute as they do there.
        reason: why it computes in fp32; "" in int8.
    """

    layer: str
    alone: float
    whole: float
    reason: str = ""


def layer_errors(
    model: nn.Module, batches: Batches, quantization: Quantization
) -> list[LayerError]:
    """The errors of an int8 encoder by layer, in the order in which they run.

    int8 is simulated in torch, on any machine: integers are those of kernels, up to ties in
    averages. A layer of a large error `alone` is one to name in quantize's `exclude`.

    Args:
        model, batches: see quantize.
        quantization: of this model.

    Raises:
        ValueError: no images, or a quantization of another model; the layer is named.
        TypeError: a batch that holds no tensor.
    """
    graphs = Graphs(model)
    sums: dict[str, _Sums] = {}
    pair: _Pair | None = None
    for x in tensors_of(batches, model):
        graph = graphs.of(x)
        if pair is None or pair.exact is not graph:
            pair = _Pair(graph, quantization)
        pair.show(x, sums)
    return [each.error(layer) for layer, each in sums.items()]


class _Sums:
    """Squares of differences and of maps, summed over images."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.alone = self.whole = self.maps = 0.0

    def add(self, exact: Tensor, alone: Tensor, whole: Tensor) -> None:
        self.alone += _square(alone - exact)
        self.whole += _square(whole - exact)
        self.maps += _square(exact)

    def error(self, layer: str) -> LayerError:
        return LayerError(
            layer, self._relative(self.alone), self._relative(self.whole), self.reason
        )

    def _relative(self, square: float) -> float:
        if square == 0:
            return 0.0
        return float("inf") if self.maps == 0 else (square / self.maps) ** 0.5


class _Pair:
    """A graph in fp32 and the same one in int8, which run side by side."""

    def __init__(self, exact: Graph, quantization: Quantization) -> None:
        self.exact = exact
        self._labels = step_labels(exact)
        twins = [copy(node) for node in exact.nodes]
        self._int8 = to_int8(Graph(exact.input, twins, list(exact.outputs)), quantization)
        self._quants = {node.name: node.quant for node in self._int8.nodes}
        self._weights = NativeConvWeights()

    def show(self, x: Tensor, sums: dict[str, _Sums]) -> None:
        exact, whole = Values(self.exact, x), Values(self._int8, x)
        in_fp32 = {node.name: node for node in self.exact.nodes}
        with torch.no_grad():
            for node in self._int8.nodes:
                whole.run(node)
                twin = in_fp32.get(node.name)
                if twin is None:  # a conversion
                    whole.let_go(node)
                    continue
                exact.run(twin)
                if isinstance(node, Conv):
                    maps = exact.made[twin.name], self._alone(node, twin, exact.made)
                    mine = sums.setdefault(self._labels[node.name], _Sums(node.note))
                    mine.add(*maps, whole.made[node.name])
                whole.let_go(node)
                exact.let_go(twin)

    def _alone(self, node: Node, twin: Node, exact: dict[str, Any]) -> Tensor:
        """The node's value in int8, of what it reads in fp32."""
        if not isinstance(node, Conv) or node.weight_scales is None:
            return exact[twin.name]
        read = {}
        for name, source in zip(node.sources(), twin.sources(), strict=True):
            quant = self._quants[name]
            read[name] = exact[source] if quant is None else rounded(exact[source], quant)
        return run_in_torch(node, read, self._weights)


def _square(x: Tensor) -> float:
    return float(x.double().square().sum())
