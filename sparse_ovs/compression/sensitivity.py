"""How much an encoder's outputs feel the errors of each layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sparse_ovs.compression.layers import Layer
from sparse_ovs.engine.graph import Graph
from sparse_ovs.engine.in_torch import run_in_torch
from sparse_ovs.engine.weights import NativeConvWeights


def sensitivities(
    graph: Graph, layers: Sequence[Layer], images: Sequence[Tensor], seed: int
) -> dict[str, float]:
    """By layer: the relative loss of the outputs, summed over them, for each relative loss of the
    layer's, where that is small and falls on each channel as the channel varies.

    An error d of a layer's outputs changes an output y by J d, and by the power || J d ||^2, whose
    mean over such d is the diagonal of J^T J times their variances. It is estimated by Hutchinson's
    trick, one backward pass an image: (J^T v)^2 for random v has J^T J's diagonal as its mean.

    Args:
        graph: of the module, nothing folded or fused (see `engine.export.trace`).
        layers: of it.
        images: batches; a few dozen images are enough.
        seed: of v.
    """
    generator = torch.Generator().manual_seed(seed)
    places = [layer.conv.name if layer.after is None else layer.after.name for layer in layers]
    found = dict.fromkeys((layer.name for layer in layers), 0.0)
    count = 0
    with torch.enable_grad():
        for batch in images:
            values = _values(graph, batch)
            outputs = [values[name] for name in dict.fromkeys(graph.outputs)]
            felt = torch.stack([_projected(output, generator) for output in outputs]).sum()
            slopes = torch.autograd.grad(felt, [values[place] for place in places])
            for layer, place, slope in zip(layers, places, slopes, strict=True):
                found[layer.name] += float((_power(values[place], layer) * slope**2).sum())
            count += len(batch)
    return {name: total / count for name, total in found.items()}


def _values(graph: Graph, batch: Tensor) -> dict[str, Tensor]:
    """Of all nodes, such that gradients come to each of them."""
    values = {graph.input: batch.detach().clone().requires_grad_()}
    weights = NativeConvWeights()
    for node in graph.nodes:
        given = {name: values[name] for name in node.sources()}
        values[node.name] = run_in_torch(node, given, weights)
    return values


def _projected(output: Tensor, generator: torch.Generator) -> Tensor:
    """On a random direction for each image, relative to the norm of the image's output; one that
    is all zeros has no relative loss."""
    direction = torch.randn(output.shape, generator=generator)
    axes = tuple(range(1, output.dim()))
    norm = torch.linalg.vector_norm(output.detach(), dim=axes, keepdim=True)
    return (output * direction * torch.where(norm > 0, 1 / norm, 0)).sum()


def _power(value: Tensor, layer: Layer) -> Tensor:
    """(O, 1, 1): of each channel, as a layer's losses are relative to it."""
    value = value.detach()
    power = (value**2).mean((0, 2, 3))
    if layer.takes_shift:
        power = power - value.mean((0, 2, 3)) ** 2
    return power.reshape(-1, 1, 1)
