"""Magnitude masks: the largest weights of one layer or of many, in units of a pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sparse_ovs.patterns.layout import flatten_tap_major, unflatten_tap_major
from sparse_ovs.patterns.pattern import Pattern, check_density, kept_count, parse_pattern
from sparse_ovs.patterns.units import (
    expand_units,
    kept_units,
    largest,
    largest_in_groups,
    magnitudes,
    unit_sums,
)


def make_mask(
    weight: Tensor,
    pattern: str | Pattern,
    density: float | None = None,
    *,
    count: int | None = None,
    previous: Tensor | None = None,
) -> Tensor:
    """Mask of the largest magnitudes of one weight.

    Units are weights, blocks (by the sum of magnitudes; blocks at the edges may be smaller), output
    channels (by the sum of magnitudes), or for n:m the n largest of every m columns. Exactly
    floor(density * units) units are kept; of equal units the one with the lower tap-major index.
    -0.0 ranks as 0.0.

    Args:
        weight: (O, I, *kernel) or (O, I), floating point.
        pattern: see `parse_pattern`.
        density: kept fraction, 0 < density <= 1, of all units, pruned ones included; for n:m None
            or n / m.
        count: how many units to keep, instead of a density; not for n:m.
        previous: an earlier mask: what it prunes stays pruned, whatever its magnitude.

    Returns:
        bool, of the weight's shape, on its device.

    Raises:
        ValueError: bad pattern, density or count, more units than remain, a previous mask of
            another shape or of parts of units, or NaN in the weight.
        TypeError: the weight is not floating point, the previous mask not bool, or the count no
            integer.
    """
    earlier = None if previous is None else {"": previous}
    return make_global_masks({"": weight}, pattern, density, count=count, previous=earlier)[""]


def make_global_masks(
    weights: Mapping[str, Tensor],
    pattern: str | Pattern,
    density: float | None = None,
    *,
    count: int | None = None,
    costs: Mapping[str, float] | None = None,
    previous: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Masks of the largest units of all weights together: one threshold, floor(density * all units)
    kept.

    Of equal units the one of the earlier weight, then of the lower tap-major index, is kept. n:m
    has no choice to make between layers, so its masks are those of `make_mask`.

    Args:
        weights: by layer name, in the order that breaks ties.
        count: how many units to keep in all layers together, instead of a density.
        costs: what one weight of each layer costs, in any unit; a unit's score is its magnitude
            over this cost.
        previous: earlier masks of the same layers.

    Returns:
        Masks by the same names. See `make_mask` for units and errors.
    """
    pattern = parse_pattern(pattern)
    check_previous(weights, previous)
    if pattern.kind == "n:m":
        _check_n_of_m(pattern, density, count)
        return {
            name: _n_of_m(weight, pattern, None if previous is None else previous[name])
            for name, weight in weights.items()
        }
    check_amount(pattern, density, count)
    scores = unit_scores(weights, pattern, previous)
    if costs is not None:
        costs = check_costs(weights, costs)
        # In float64 no two magnitudes of a layer become equal by the division.
        scores = {name: score.double() / costs[name] for name, score in scores.items()}
    if not scores:
        return {}
    pooled = torch.cat([score.flatten() for score in scores.values()])
    if density is not None:
        count = kept_count(density, pooled.numel())
    assert count is not None
    remaining = int((pooled >= 0).sum())
    if count > remaining:
        raise ValueError(
            f"expected a count of at most the {remaining} units that remain, got {count}"
        )
    shapes = {name: weight.shape for name, weight in weights.items()}
    masks = masks_of_units(largest(pooled, count), shapes, scores, pattern)
    return {name: mask.to(weights[name].device) for name, mask in masks.items()}


def unit_scores(
    weights: Mapping[str, Tensor], pattern: Pattern, previous: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Summed magnitude of every unit, by layer, of shape `unit_grid`, on the CPU; -1 where the
    previous masks prune it. Errors as `make_mask`."""
    scores = {}
    for name, weight in weights.items():
        scores[name] = unit_sums(magnitudes(weight), pattern)
        if previous is not None:
            scores[name] = scores[name].masked_fill(~kept_units(previous[name], pattern), -1.0)
    return scores


def masks_of_units(
    kept: Tensor,
    shapes: Mapping[str, Sequence[int]],
    units: Mapping[str, Tensor],
    pattern: Pattern,
) -> dict[str, Tensor]:
    """Masks from one flat choice of units: bool, all layers' units one after the other.

    Args:
        kept: bool (all units).
        shapes: of the weights, by layer.
        units: a tensor of shape `unit_grid` for each layer.
    """
    parts = kept.split([unit.numel() for unit in units.values()])
    return {
        name: unflatten_tap_major(
            expand_units(part.view_as(unit), pattern, shapes[name]), shapes[name]
        )
        for (name, unit), part in zip(units.items(), parts, strict=True)
    }


def check_amount(pattern: Pattern, density: float | None, count: int | None) -> None:
    """Raises ValueError or TypeError unless one of density and count is given, in its range."""
    if density is not None and count is not None:
        raise ValueError(f"expected a density or a count, got {density!r} and {count!r}")
    if count is not None:
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"expected a count as an integer, got {count!r}")
        if count < 0:
            raise ValueError(f"expected a count of at least 0, got {count}")
    elif density is None:
        raise ValueError(f"expected a density for pattern '{pattern}', got None")
    else:
        check_density(density)


def check_costs(weights: Mapping[str, Tensor], costs: Mapping[str, float]) -> dict[str, float]:
    """The costs of these layers.

    Raises:
        ValueError: a layer without a cost, or a cost that is not positive and finite.
    """
    missing = [name for name in weights if name not in costs]
    if missing:
        raise ValueError(f"expected a cost for every layer, got none for {', '.join(missing)}")
    for name in weights:
        if not 0 < costs[name] < float("inf"):
            raise ValueError(f"expected a positive, finite cost for {name}, got {costs[name]!r}")
    return {name: costs[name] for name in weights}


def check_previous(weights: Mapping[str, Tensor], previous: Mapping[str, Tensor] | None) -> None:
    """Raises ValueError or TypeError unless there is a bool mask of each weight's shape."""
    if previous is None:
        return
    missing = [name for name in weights if name not in previous]
    if missing:
        raise ValueError(f"expected a previous mask of every layer, got none of {missing}")
    for name, weight in weights.items():
        if previous[name].dtype != torch.bool:
            raise TypeError(f"expected bool previous masks, got {previous[name].dtype}")
        if previous[name].shape != weight.shape:
            raise ValueError(
                f"expected previous masks of the weights' shapes, got "
                f"{tuple(previous[name].shape)} for {tuple(weight.shape)}"
            )


def _check_n_of_m(pattern: Pattern, density: float | None, count: int | None) -> None:
    if count is not None:
        raise ValueError(f"expected no count for pattern '{pattern}', got {count!r}")
    if density is None:
        return
    implied = pattern.first / pattern.second
    if abs(check_density(density) - implied) > 1e-9:
        raise ValueError(
            f"expected density {implied:g} or None for pattern '{pattern}', got {density!r}"
        )


def _n_of_m(weight: Tensor, pattern: Pattern, previous: Tensor | None) -> Tensor:
    scores = magnitudes(weight)
    if previous is not None:
        alive = flatten_tap_major(previous.cpu())
        scores = scores.masked_fill(~alive, -1.0)
    kept = largest_in_groups(scores, pattern.second, pattern.first)
    if previous is not None:
        kept &= alive
    return unflatten_tap_major(kept, weight.shape).to(weight.device)
