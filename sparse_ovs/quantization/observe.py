"""quantize: scales for int8 from the maps that a few images give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.engine import Quantization
from sparse_ovs.engine.graph import Conv, Graph
from sparse_ovs.engine.records import step_labels
from sparse_ovs.quantization.batches import Batches, tensors_of
from sparse_ovs.quantization.graphs import Graphs, Values
from sparse_ovs.quantization.ranges import Range, weight_scales
from sparse_ovs.version import __version__


def quantize(
    model: nn.Module,
    batches: Batches,
    percentile: float | None = None,
    exclude: Sequence[str] = (),
) -> Quantization:
    """Observes a model's maps on images, for compile(model, x, precision="int8", quantization=...).

    Maps become u8 with one scale and zero point each, weights s8 with a scale for each output
    channel, symmetric. Nothing is trained, and the model is not changed.

    Args:
        model: what compile takes: of one tensor, dense or sparsified.
        batches: float32 tensors (N, C, H, W) such as the model will see; a DataLoader of them, or
            of tuples, lists or dicts in which the images come first; or a folder of images, which
            the model's `preprocess` prepares. A few dozen images do.
        percentile: of a map's numbers that its scale covers at each end, such as 99.99; None covers
            all.
        exclude: layers that stay in fp32, by name or pattern ("layer4.*").

    Raises:
        ValueError: no images, maps that are not finite (the layer is named), a pattern that fits no
            layer, or a percentile outside (50, 100].
        TypeError: a batch that holds no tensor.
    """
    if percentile is not None and not 50 < percentile <= 100:
        raise ValueError(f"expected a percentile above 50, up to 100, got {percentile}")
    graphs, observer = Graphs(model), _Observer(percentile)
    for x in tensors_of(batches, model):
        observer.show(graphs.of(x), x)
    return observer.quantization(exclude)


class _Observer:
    """Runs graphs of a model, and keeps the ranges of its maps by label."""

    def __init__(self, percentile: float | None) -> None:
        self._percentile = percentile
        self._ranges: dict[str, Range] = {}
        self._weight_scales: dict[str, Tensor] = {}
        self._images = 0
        self._graph: Graph | None = None  # the last one
        self._labels: dict[str, str] = {}  # of its values

    def show(self, graph: Graph, x: Tensor) -> None:
        if graph is not self._graph:
            self._watch(graph)
        self._images += x.shape[0]
        values = Values(graph, x)
        self._note(graph.input, x)
        with torch.no_grad():
            for node in graph.nodes:
                self._note(node.name, values.run(node))
                values.let_go(node)

    def _watch(self, graph: Graph) -> None:
        self._graph, self._labels = graph, step_labels(graph)
        convs = [node for node in graph.nodes if isinstance(node, Conv)]
        read = {name for conv in convs for name in (*conv.sources(), conv.name)}
        for name in (graph.input, *(node.name for node in graph.nodes)):
            if name in read:
                self._ranges.setdefault(self._labels[name], Range(self._percentile))
        for conv in convs:
            self._weight_scales[self._labels[conv.name]] = weight_scales(conv.weight)

    def _note(self, name: str, value: Any) -> None:
        label = self._labels[name]
        if label not in self._ranges or not isinstance(value, Tensor):
            return
        try:
            self._ranges[label].show(value)
        except ValueError as error:
            raise ValueError(f"{error} in the maps of {label}") from None

    def quantization(self, exclude: Sequence[str]) -> Quantization:
        return Quantization(
            {label: each.quant() for label, each in self._ranges.items()},
            self._weight_scales,
            _matching(exclude, self._weight_scales),
            {"images": self._images, "percentile": self._percentile, "library": __version__},
        )


def _matching(patterns: Sequence[str], layers: Mapping[str, Any]) -> frozenset[str]:
    found: set[str] = set()
    for pattern in patterns:
        names = [name for name in layers if fnmatchcase(name, pattern)]
        if not names:
            raise ValueError(f"expected layers to exclude, got {pattern!r}, which fits none")
        found.update(names)
    return frozenset(found)
