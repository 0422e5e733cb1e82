"""prune_layer: which weights of one layer stay, and what they become for those that go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from sparse_ovs.compression.admm import prune_by_admm
from sparse_ovs.compression.choice import count_kept
from sparse_ovs.compression.layer_problem import LayerProblem
from sparse_ovs.compression.obs_exact import can_trace, trace
from sparse_ovs.compression.refit import solve
from sparse_ovs.patterns import Pattern, parse_pattern

Method = Literal["auto", "exact", "admm"]

# Up to so many columns the exact form is the better one by a per cent or two, and as fast.
_FEW_COLUMNS = 64


@dataclass(frozen=True)
class PrunedLayer:
    """One layer's weights after pruning.

    Attributes:
        weight: (groups, rows, columns), of the dense weight's dtype, zero outside the mask.
        mask: bool, of the same shape, True = kept.
        loss: mean squared error of the outputs, of LayerProblem.loss.
    """

    weight: Tensor
    mask: Tensor
    loss: float


def prune_layer(
    problem: LayerProblem,
    density: float,
    pattern: str | Pattern = "unstructured",
    method: Method = "auto",
    damping: float = 0.01,
) -> PrunedLayer:
    """Prunes a layer to a density, and changes the weights that stay so that its outputs stay.

    Args:
        problem: the layer's weights and moments; `centred` where its bias is corrected afterwards.
        density: kept fraction of the units, 0 to 1: floor(density * units) stay, whichever rows
            they are in. For n:m it must be n / m.
        pattern: see `sparse_ovs.make_mask`; of all output channels, across groups.
        method: "exact", greedy Optimal Brain Surgeon, for units of one column (unstructured,
            block4x1, n:m); "admm", for all patterns, within a few per cent of it and far faster
            where columns are many; "auto" the better one by the layer's columns and pattern.
        damping: of the gram, see LayerProblem.damped_gram.

    Raises:
        ValueError: a density or damping out of its range, or another pattern or method.
    """
    return _prune(problem, [density], pattern, method, damping)[0]


def loss_curve(
    problem: LayerProblem,
    densities: Sequence[float],
    pattern: str | Pattern = "unstructured",
    method: Method = "auto",
    damping: float = 0.01,
    judge: LayerProblem | None = None,
) -> list[float]:
    """What prune_layer's loss is at each density, in less time than pruning to one after the other.

    Args and errors as prune_layer; judge: the layer's problem on other images, whose loss is told
    instead. On those that weights were fitted to, a layer of many columns looks cheap to prune.
    """
    pruned = _prune(problem, densities, pattern, method, damping)
    return [layer.loss if judge is None else judge.loss(layer.weight) for layer in pruned]


def _prune(
    problem: LayerProblem,
    densities: Sequence[float],
    pattern: str | Pattern,
    method: Method,
    damping: float,
) -> list[PrunedLayer]:
    pattern = parse_pattern(pattern)
    if method not in get_args(Method):
        raise ValueError(f"expected method 'auto', 'exact' or 'admm', got {method!r}")
    if not 0 < damping < float("inf"):
        raise ValueError(f"expected a positive, finite damping, got {damping!r}")
    groups, rows, columns = problem.weight.shape
    kept = [count_kept((groups * rows, columns), pattern, density) for density in densities]
    start = problem.start(damping)
    if method == "auto":
        # ADMM finds the better n:m: greedy steps close groups early.
        few = columns <= _FEW_COLUMNS and can_trace(pattern) and pattern.kind != "n:m"
        method = "exact" if few else "admm"
    found = (
        _prune_exactly(problem, start, pattern, kept, damping)
        if method == "exact"
        else prune_by_admm(problem, start, pattern, kept, damping)
    )
    layers = []
    for weight, mask in found:
        best = start if bool(mask.all()) else weight  # not rounded on the way
        layers.append(PrunedLayer(best, mask, problem.loss(best)))
    return layers


def _prune_exactly(
    problem: LayerProblem, start: Tensor, pattern: Pattern, kept: Sequence[int], damping: float
) -> list[tuple[Tensor, Tensor]]:
    steps, gram = trace(problem, start, pattern, damping), problem.damped_gram(damping)
    masks = [steps.mask(count).view(start.shape) for count in kept]
    return [(solve(gram, start, mask).to(start.dtype), mask) for mask in masks]
