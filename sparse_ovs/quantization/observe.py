"""quantize: scales for int8 from the maps that a few images give."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.data import ImageFolder
from sparse_ovs.engine import Quantization
from sparse_ovs.engine.export import export_graph
from sparse_ovs.engine.graph import Conv
from sparse_ovs.engine.in_torch import run_in_torch
from sparse_ovs.engine.records import step_labels
from sparse_ovs.engine.weights import NativeConvWeights
from sparse_ovs.nn.plain import plain_copy
from sparse_ovs.quantization.ranges import Range, weight_scales
from sparse_ovs.version import __version__

Batches = Iterable[Any] | str | os.PathLike[str]


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
    plain = plain_copy(model)
    observer: _Observer | None = None
    for x in _tensors(batches, model):
        if observer is None or x.shape != observer.shape:
            ranges = {} if observer is None else observer.ranges
            count = 0 if observer is None else observer.images
            observer = _Observer(plain, x, percentile, ranges, count)
        observer.show(x)
    if observer is None:
        raise ValueError("expected at least one batch of images, got none")
    return observer.quantization(exclude)


class _Observer:
    """Runs a graph for one shape of input, and keeps the ranges of its maps."""

    def __init__(
        self,
        plain: nn.Module,
        x: Tensor,
        percentile: float | None,
        ranges: dict[str, Range],
        images: int,
    ) -> None:
        self.shape = x.shape
        self.ranges = ranges
        self.images = images
        self._percentile = percentile
        self._graph, _ = export_graph(plain, x)
        self._weights = NativeConvWeights()
        self._labels = step_labels(self._graph)
        self._convs = [node for node in self._graph.nodes if isinstance(node, Conv)]
        read = {name for conv in self._convs for name in (*conv.sources(), conv.name)}
        for name in (self._graph.input, *(node.name for node in self._graph.nodes)):
            if name in read:
                self.ranges.setdefault(self._labels[name], Range(percentile))

    def show(self, x: Tensor) -> None:
        self.images += x.shape[0]
        left = self._graph.uses()
        values: dict[str, Any] = {self._graph.input: x}
        self._note(self._graph.input, x)
        with torch.no_grad():
            for node in self._graph.nodes:
                values[node.name] = run_in_torch(node, values, self._weights)
                self._note(node.name, values[node.name])
                for name in node.sources():
                    left[name] -= 1
                    if left[name] == 0:
                        del values[name]

    def _note(self, name: str, value: Any) -> None:
        label = self._labels[name]
        if label not in self.ranges or not isinstance(value, Tensor):
            return
        try:
            self.ranges[label].show(value)
        except ValueError as error:
            raise ValueError(f"{error} in the maps of {label}") from None

    def quantization(self, exclude: Sequence[str]) -> Quantization:
        scales = {self._labels[conv.name]: weight_scales(conv.weight) for conv in self._convs}
        return Quantization(
            {label: each.quant() for label, each in self.ranges.items()},
            scales,
            _matching(exclude, scales),
            {"images": self.images, "percentile": self._percentile, "library": __version__},
        )


def _matching(patterns: Sequence[str], layers: Mapping[str, Any]) -> frozenset[str]:
    found: set[str] = set()
    for pattern in patterns:
        names = [name for name in layers if fnmatchcase(name, pattern)]
        if not names:
            raise ValueError(f"expected layers to exclude, got {pattern!r}, which fits none")
        found.update(names)
    return frozenset(found)


def _tensors(batches: Batches, model: nn.Module) -> Iterator[Tensor]:
    if isinstance(batches, (str, os.PathLike)):
        preprocess = getattr(model, "preprocess", None)
        if preprocess is None:
            raise ValueError(
                "expected tensors for a model without `preprocess`, got a folder of images"
            )
        folder = ImageFolder(batches, preprocess)
        batches = (folder[number][None] for number in range(len(folder)))
    elif isinstance(batches, Tensor):
        batches = [batches]
    for batch in batches:
        yield _images_of(batch)


def _images_of(batch: Any) -> Tensor:
    if isinstance(batch, Mapping):
        batch = next(iter(batch.values()), None)
    elif isinstance(batch, (tuple, list)) and batch:
        batch = batch[0]
    if not isinstance(batch, Tensor):
        raise TypeError(f"expected batches of tensors, got {type(batch).__name__}")
    if batch.dtype != torch.float32 or batch.dim() != 4 or batch.shape[0] == 0:
        raise ValueError(
            f"expected float32 batches (N, C, H, W), got {batch.dtype} {tuple(batch.shape)}"
        )
    return batch
