"""Compresses one layer: masks and weights, mean correction, s8 rounding, and writing them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparse_ovs.compression.gram import InputMoments
from sparse_ovs.compression.layer_problem import LayerProblem
from sparse_ovs.compression.layers import Layer
from sparse_ovs.compression.matrices import as_matrices, as_weight
from sparse_ovs.compression.mean_correction import corrected_bias
from sparse_ovs.compression.prune import loss_curve, prune_layer
from sparse_ovs.compression.rounding import round_to_s8
from sparse_ovs.compression.settings import CompressionSettings
from sparse_ovs.compression.walk import Inputs
from sparse_ovs.engine.int8 import why_not_int8
from sparse_ovs.patterns import make_mask, parse_pattern

# Samples of a layer's inputs, whatever the number of images: so many, and so many a column.
_SAMPLES, _SAMPLES_A_COLUMN = 1 << 14, 4
# Of grams. A hundred photos are few: the less of it, the more a layer learns those by heart.
_DAMPING = 0.1
# Rows that a layer's losses are taken from: at least so many, or so many by columns squared.
_LEAST_ROWS, _ROW_COST = 64, 1 << 30


@dataclass(frozen=True)
class CompressedLayer:
    """What became of a layer.

    Attributes:
        weight: of the module's shape, zero outside the mask.
        mask: bool, of the same shape.
        shift: what is added to the layer's bias or BatchNorm's, of its shape; None: nothing.
        scales: (O,) of its s8 weights times `Layer.row_scale`; None where they were not rounded
            here.
        error: of its outputs, relative: the norm of the difference by that of the dense ones.
    """

    weight: Tensor
    mask: Tensor
    shift: Tensor | None
    scales: Tensor | None
    error: float

    def write(self, layer: Layer) -> None:
        """Into the module."""
        with torch.no_grad():
            layer.weight.copy_(self.weight)
            if self.shift is not None:
                layer.shift().add_(self.shift)

    def tensors(self) -> dict[str, Tensor]:
        """For files."""
        named = {"weight": self.weight, "mask": self.mask, "shift": self.shift}
        named |= {"scales": self.scales, "error": torch.tensor(self.error, dtype=torch.float64)}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> CompressedLayer:
        """Inverse of `tensors`."""
        optional = (tensors.get("shift"), tensors.get("scales"))
        return cls(tensors["weight"], tensors["mask"], *optional, float(tensors["error"]))


def gather(dense: Layer, inputs: Inputs, seed: int) -> LayerProblem:
    """The problem of a layer from its inputs.

    Args:
        dense: the layer of the dense encoder.
        seed: of the pixels that are drawn where there are many.
    """
    columns = dense.weight[0].numel()
    images = sum(len(one) for one, _ in inputs)
    samples = max(_SAMPLES, _SAMPLES_A_COLUMN * columns)
    moments = InputMoments(dense.stand_in(), -(-samples // images), seed)
    for one, other in inputs:
        moments.add(one, other)
    return moments.problem()


def loss_by_density(
    layer: Layer, inputs: Inputs, densities: Sequence[float], settings: CompressionSettings
) -> list[float]:
    """The loss of a layer alone at each density, relative to the power of its outputs: on half of
    the images, of weights that are fitted to the others."""
    if settings.method == "magnitude":
        problem = gather(layer, inputs, settings.seed)
        return [_relative(problem, layer, _mask(layer, settings, d)) for d in densities]
    fitted, judge = (
        _some_rows(problem.centred() if layer.takes_shift else problem, settings.pattern)
        for problem in (gather(layer, half, settings.seed) for half in _halves(inputs))
    )
    power = float(judge.target_power.sum()) or 1.0
    pruned = [density for density in densities if density < 1]
    curve = loss_curve(fitted, pruned, settings.pattern, damping=_DAMPING, judge=judge)
    losses = dict(zip(pruned, curve, strict=True))
    return [losses.get(density, 0.0) / power for density in densities]


def _halves(inputs: Inputs) -> tuple[Inputs, Inputs]:
    """Every other image, and the rest; twice the same where there is but one."""
    halves: tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]] = ([], [])
    before = 0
    for one, other in inputs:
        for number, half in enumerate(halves):
            mine = slice((before + number) % 2, None, 2)
            if len(images := one[mine]):
                half.append((images, images if other is one else other[mine]))
        before += len(one)
    return halves if before > 1 else (inputs, inputs)


def compress_layer(
    dense: Layer,
    layer: Layer,
    inputs: Inputs,
    density: float,
    settings: CompressionSettings,
    rounds: bool,
) -> CompressedLayer:
    """Prunes a layer, and in int8 rounds it.

    Args:
        dense, layer: of the dense encoder, and of the one that is compressed.
        density: kept fraction; 1 prunes nothing.
        rounds: whether to round the weights to s8 too.
    """
    problem = gather(dense, inputs, settings.seed)
    if settings.method == "magnitude":
        mask = _mask(layer, settings, density)
        weight = layer.weight.masked_fill(~mask, 0.0)
        error = _relative(problem, layer, mask) ** 0.5
        return CompressedLayer(weight, mask, None, None, error)
    if density >= 1 and problem.unchanged and not rounds:
        mask = torch.ones_like(layer.weight, dtype=torch.bool)
        return CompressedLayer(layer.weight.clone(), mask, None, None, 0.0)
    judged = problem.centred() if layer.takes_shift else problem
    if density < 1:
        pruned = prune_layer(judged, density, settings.pattern, damping=_DAMPING)
        weight, mask = pruned.weight, pruned.mask
    else:
        weight = judged.start(_DAMPING)
        mask = torch.ones_like(weight, dtype=torch.bool)
    return _finished(problem, layer, weight, mask, rounds)


def round_layer(
    dense: Layer, layer: Layer, mask: Tensor, inputs: Inputs, seed: int
) -> CompressedLayer:
    """Rounds a layer that was pruned, and perhaps trained, under its mask."""
    problem = gather(dense, inputs, seed)
    return _finished(problem, layer, layer.folded(), as_matrices(mask, layer.conv.groups), True)


def _finished(
    problem: LayerProblem, layer: Layer, weight: Tensor, mask: Tensor, rounds: bool
) -> CompressedLayer:
    """From matrices times `row_scale` to the module's weights."""
    judged = problem.centred() if layer.takes_shift else problem
    scales: Tensor | None = None
    if rounds and not why_not_int8(layer.conv):
        weight, scales = round_to_s8(judged, weight, mask, damping=_DAMPING)
    shift = None
    if layer.takes_shift:
        change = corrected_bias(problem, weight)
        shift = layer.as_shift(change.to(layer.weight.dtype))
    shape = layer.conv.weight.shape
    kept = as_weight(mask, shape).reshape(layer.weight.shape)
    plain = layer.unfolded(as_weight(weight, shape)).masked_fill(~kept, 0.0)
    return CompressedLayer(plain, kept, shift, scales, judged.relative_loss(weight) ** 0.5)


def _some_rows(problem: LayerProblem, pattern: str) -> LayerProblem:
    """A problem of fewer rows where there are many columns, evenly spread: rows lose alike, and
    each density costs as many products as rows times columns squared."""
    _, rows, columns = problem.weight.shape
    parsed = parse_pattern(pattern)
    unit = parsed.first if parsed.kind == "block" else 1
    wanted = max(_LEAST_ROWS, _ROW_COST // columns**2)
    step = rows // wanted
    if step < 2:
        return problem
    chosen = torch.arange(rows).split(unit)[::step]
    index = torch.cat(chosen)
    return replace(
        problem, weight=problem.weight[:, index], target_power=problem.target_power[:, index]
    )


def _mask(layer: Layer, settings: CompressionSettings, density: float) -> Tensor:
    if density >= 1:
        return torch.ones_like(layer.weight, dtype=torch.bool)
    if parse_pattern(settings.pattern).kind == "n:m":
        return make_mask(layer.weight, settings.pattern)
    return make_mask(layer.weight, settings.pattern, density)


def _relative(problem: LayerProblem, layer: Layer, mask: Tensor) -> float:
    """The loss of magnitude: what is pruned is zero, and nothing else changes."""
    weight = layer.folded().masked_fill(~as_matrices(mask, layer.conv.groups), 0.0)
    return problem.relative_loss(weight)
