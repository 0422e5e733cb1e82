"""Which weights stay: magnitude over many layers, by density, by count, or by a budget in cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import Tensor

from sparse_ovs.patterns import Pattern, make_global_masks, make_mask, parse_pattern
from sparse_ovs.patterns.masks import check_costs, check_previous, masks_of_units, unit_scores
from sparse_ovs.patterns.units import unit_grid, unit_sizes

Scope = Literal["global", "layer"]


def unit_counts(weights: Mapping[str, Tensor], pattern: str | Pattern) -> dict[str, int]:
    """How many units (weights, blocks, output channels) each layer has: what counts and schedules
    count.

    Raises:
        ValueError: n:m, whose groups each keep n.
    """
    parsed = parse_pattern(pattern)
    counts = {}
    for name, weight in weights.items():
        rows, columns = unit_grid(weight.shape, parsed)
        counts[name] = rows * columns
    return counts


def magnitude_masks(
    weights: Mapping[str, Tensor],
    pattern: str | Pattern = "unstructured",
    density: float | Mapping[str, float] | None = None,
    *,
    count: int | Mapping[str, int] | None = None,
    scope: Scope = "global",
    costs: Mapping[str, float] | None = None,
    previous: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Masks of the units with the largest L1 magnitude.

    Of equal units the one of the earlier layer, then of the lower tap-major index, stays. For
    iterative pruning give the former round's masks: a weight that they prune never comes back, also
    where what remains is as small.

    Args:
        weights: (O, I, *kernel) or (O, I) by layer name.
        pattern: see `sparse_ovs.make_mask`; n:m keeps n of every m and takes no count.
        density: kept fraction of all units, those pruned before included; with scope "layer" also
            by layer name.
        count: exactly how many units to keep (see `unit_counts`), instead of a density: of all
            layers together, with scope "layer" by layer name.
        scope: "global", one threshold for all layers; or "layer", one for each.
        costs: what one weight of each layer costs (its MACs, or its time): a unit's score is its
            magnitude over this. Only between layers does it make a difference.
        previous: bool masks of the same layers, made of whole units.

    Returns:
        bool masks by the same names, of the weights' shapes, on their devices.

    Raises:
        ValueError, TypeError: an argument out of its range, more units asked for than remain, or
            NaN in a weight.
    """
    if scope == "global":
        for what, value in (("density", density), ("count", count)):
            if isinstance(value, Mapping):
                raise ValueError(f"expected one {what} with scope 'global', got one for each layer")
        return make_global_masks(
            weights,
            pattern,
            density,  # type: ignore[arg-type]
            count=count,  # type: ignore[arg-type]
            costs=costs,
            previous=previous,
        )
    if scope != "layer":
        raise ValueError(f"expected scope 'global' or 'layer', got {scope!r}")
    if costs is not None:
        raise ValueError("expected no costs with scope 'layer', where they change nothing")
    if count is not None and not isinstance(count, Mapping):
        raise TypeError(f"expected a count for each layer with scope 'layer', got {count!r}")
    check_previous(weights, previous)
    density_of, count_of = _by_layer(weights, density), _by_layer(weights, count)
    return {
        name: make_mask(
            weight,
            pattern,
            density_of(name),
            count=count_of(name),
            previous=None if previous is None else previous[name],
        )
        for name, weight in weights.items()
    }


def budget_masks(
    weights: Mapping[str, Tensor],
    pattern: str | Pattern,
    costs: Mapping[str, float],
    budget: float,
    *,
    power: float = 1.0,
    previous: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Masks of the units with the most magnitude for their cost, as many as a budget pays for.

    The greedy solution of the knapsack problem (Dantzig 1957): units in falling order of magnitude
    over cost, the first that the budget does not pay for and all after it pruned. Costs are summed
    exactly. Ties as in `magnitude_masks`.

    Args:
        weights: by layer name.
        pattern: see `sparse_ovs.make_mask`; not n:m.
        costs: what one weight of each layer costs; a unit costs that times its weights.
        budget: in the same unit as the costs, at least 0.
        power: of the cost in the ranking: 1 keeps the most magnitude, 0.5 the most squared
            magnitude (see `cost.ranking`).
        previous: see `magnitude_masks`.

    Returns:
        bool masks by the same names, of the weights' shapes, on their devices.

    Raises:
        ValueError, TypeError: an argument out of its range, or NaN in a weight.
    """
    parsed = parse_pattern(pattern)
    shapes = {name: weight.shape for name, weight in weights.items()}
    costs = check_costs(weights, costs)
    if not 0 <= budget < float("inf"):
        raise ValueError(f"expected a finite budget of at least 0, got {budget!r}")
    if not weights:
        return {}
    check_previous(weights, previous)
    sizes = [unit_sizes(shape, parsed).flatten() for shape in shapes.values()]
    scores = unit_scores(weights, parsed, previous)
    # In float64 no two magnitudes of a layer become equal by the division. The bits of floats that
    # are not negative rank as integers do; units pruned before are negative.
    keys = [
        (score.flatten().double() / (size * costs[name]) ** power).view(torch.int64)
        for (name, score), size in zip(scores.items(), sizes, strict=True)
    ]
    kept = torch.cat(
        _keep_within(keys, sizes, [Fraction(cost) for cost in costs.values()], Fraction(budget))
    )
    masks = masks_of_units(kept, shapes, scores, parsed)
    return {name: mask.to(weights[name].device) for name, mask in masks.items()}


def density_of(masks: Mapping[str, Tensor]) -> float:
    """Kept fraction of all masks together."""
    kept = sum(int(mask.sum()) for mask in masks.values())
    return kept / sum(mask.numel() for mask in masks.values())


def kept_magnitude(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> float:
    """Share of the summed magnitudes of all weights that the masks keep."""
    kept = sum(float(w.detach()[masks[name]].double().abs().sum()) for name, w in weights.items())
    return kept / sum(float(w.detach().double().abs().sum()) for w in weights.values())


def _keep_within(
    keys: list[Tensor], sizes: list[Tensor], costs: list[Fraction], budget: Fraction
) -> list[Tensor]:
    """bool by layer: units in falling order of their keys, as many as the budget pays for."""
    threshold, left = _threshold(keys, sizes, costs, budget)
    kept = []
    paid = True
    for key, size, cost in zip(keys, sizes, costs, strict=True):
        above = key > threshold
        if paid:
            ties = (key == threshold).nonzero().squeeze(1)
            weights = size[ties].cumsum(0)
            affordable = int(min(left / cost, size.sum().item()))
            count = int((weights <= affordable).sum())
            above[ties[:count]] = True
            left -= cost * (int(weights[count - 1]) if count else 0)
            paid = count == len(ties)
        kept.append(above)
    return kept


def _threshold(
    keys: list[Tensor], sizes: list[Tensor], costs: list[Fraction], budget: Fraction
) -> tuple[int, Fraction]:
    """The smallest key (or one less than all of them) above which the budget pays for all, and what
    it leaves.

    Halves the range of keys and goes on with those inside alone.
    """
    # Units of one price together: they only need counting.
    groups = [
        (key[(key >= 0) & (size == value)], value * cost)
        for key, size, cost in zip(keys, sizes, costs, strict=True)
        for value in _values(size)
    ]
    low = min((int(key.min()) for key, _ in groups if len(key)), default=0) - 1
    high = max((int(key.max()) for key, _ in groups if len(key)), default=low)
    left = budget
    while low < high:
        middle = (low + high) // 2
        above = [key > middle for key, _ in groups]
        counts = [int(a.count_nonzero()) for a in above]
        cost = sum((n * price for n, (_, price) in zip(counts, groups, strict=True)), Fraction(0))
        if cost <= left:
            left -= cost
            high = middle
            above = [~a for a in above]
        else:
            low = middle + 1
            if 2 * sum(counts) > sum(len(a) for a in above):
                continue  # too few to leave out; below every later middle they do not count
        groups = [(key[a], price) for (key, price), a in zip(groups, above, strict=True)]
    return high, left


def _values(size: Tensor) -> list[int]:
    """The different sizes of a layer's units: one, but for blocks cut off at an edge."""
    low, high = (int(value) for value in size.aminmax())
    return [low] if low == high else size.unique().tolist()


def _by_layer(weights: Mapping[str, Tensor], value: Any) -> Callable[[str], Any]:
    """The value of each layer, from one for all or one for each; None where there is none."""
    if not isinstance(value, Mapping):
        return lambda name: value
    missing = [name for name in weights if name not in value]
    if missing:
        raise ValueError(f"expected a value for every layer, got none for {', '.join(missing)}")
    return value.__getitem__
