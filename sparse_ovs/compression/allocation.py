"""Densities by layer for a budget: of the least summed loss, of global magnitude, or all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from sparse_ovs.compression.costs import Costs
from sparse_ovs.compression.layers import Layer
from sparse_ovs.patterns import make_global_masks, parse_pattern
from sparse_ovs.patterns.units import kept_units
from sparse_ovs.pruning.cost import ranking

# At which losses are taken.
DENSITIES = (1.0, 0.8, 0.6, 0.45, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03, 0.015)
# Densities of a layer that the solver chooses from, and into how many parts it cuts the budget.
_CHOICES, _PARTS = 60, 8000
_FINENESS = 1e-6  # of a common factor of densities
_STEPS = 40  # of halving

Densities = dict[str, float]
# By layer: (densities, falling; relative losses there).
Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]


class BudgetTooSmall(ValueError):
    """What is asked for costs less than the sparsest encoder."""

    def __init__(self, budget: float, least: float) -> None:
        super().__init__(f"expected a budget of at least {least:.4g}, got {budget:.4g}")
        self.least = least


def least_loss(curves: Curves, costs: Costs, budget: float, free: bool) -> Densities:
    """The densities of the least summed loss whose cost is at most the budget, nearly: dynamic
    programming over a budget that is cut into parts (as in Frantar and Alistarh's SPDY,
    arXiv 2201.13096).

    Args:
        curves: relative losses; between two densities the logarithm of the loss is a line, down to
            a loss of 0 the loss itself.
        costs: of the same layers.
        budget: in the unit of the costs, their fixed part included.
        free: densities may be any, those of curves between their ends; else only those of the
            curves, as for n:m.

    Raises:
        BudgetTooSmall: even the least densities cost more.
    """
    names = list(curves)
    options = {name: _options(curves[name], free) for name in names}
    prices = {
        name: np.array([costs.layer(name, density) for density in densities])
        for name, (densities, _) in options.items()
    }
    left = budget - costs.fixed
    least = sum(price.min() for price in prices.values())
    if least > left * (1 + 1e-9):
        raise BudgetTooSmall(budget, costs.fixed + least)
    # Prices above the least are cut into parts and rounded up, so that no budget is missed by it.
    spare = max(left - least, 0.0)
    part = spare / _PARTS or 1.0
    best = np.zeros(_PARTS + 1)
    taken: list[np.ndarray] = []
    for name in names:
        above = np.ceil((prices[name] - prices[name].min()) / part - 1e-9).astype(np.int64)
        rows = [
            _moved(best, int(step)) + loss
            for step, loss in zip(above, options[name][1], strict=True)
        ]
        table = np.stack(rows)
        taken.append(np.argmin(table, 0))
        best = table.min(0)
    place, chosen = _PARTS, {}
    for name, choices in zip(reversed(names), reversed(taken), strict=True):
        option = int(choices[place])
        chosen[name] = float(options[name][0][option])
        place -= int(np.ceil((prices[name][option] - prices[name].min()) / part - 1e-9))
    made = {name: chosen[name] for name in names}
    return filled(made, costs, budget) if free else made


def filled(densities: Mapping[str, float], costs: Costs, budget: float) -> Densities:
    """The densities times a common factor that uses the budget up, at most 1 each."""

    def times(factor: float) -> Densities:
        return {name: min(1.0, density * factor) for name, density in densities.items()}

    low, high = 1.0, 1.0 / min(densities.values())
    if costs.of(times(high)) <= budget:
        return times(high)
    while high - low > _FINENESS:
        middle = (low + high) / 2
        low, high = (middle, high) if costs.of(times(middle)) <= budget else (low, middle)
    return times(low)


def uniform(layers: Sequence[Layer], costs: Costs, budget: float) -> Densities:
    """One density for all layers.

    Raises:
        BudgetTooSmall: even the least density costs more.
    """
    return _largest(lambda d: {each.name: d for each in layers}, costs, budget)


def global_magnitude(
    layers: Sequence[Layer], pattern: str, costs: Costs, budget: float
) -> Densities:
    """The densities that one threshold on all magnitudes gives; for MACs and time on squared
    magnitude over what a weight costs (see `pruning.cost.ranking`).

    Raises:
        BudgetTooSmall: even the least density costs more.
    """
    weights = {each.name: each.weight for each in layers}
    prices = None if costs.unit == "weights" else ranking(costs.per_weight(layers))

    def at(density: float) -> Densities:
        return kept_densities(make_global_masks(weights, pattern, density, costs=prices), pattern)

    if costs.unit == "weights":  # the threshold of pruning itself, to the weight
        return at(min(1.0, round(budget / costs.dense, 12)))
    return _largest(at, costs, budget)


def kept_densities(masks: Mapping[str, Tensor], pattern: str) -> Densities:
    """Densities by layer that give as many units as the masks keep."""
    parsed = parse_pattern(pattern)
    found = {}
    for name, mask in masks.items():
        units = kept_units(mask, parsed)
        kept = int(units.sum())
        # Half a unit more: rounding down gives the count whatever a float rounds to.
        found[name] = 1.0 if kept == units.numel() else (kept + 0.5) / units.numel()
    return found


def _largest(at: Callable[[float], Densities], costs: Costs, budget: float) -> Densities:
    """Of densities that a number from 0 to 1 gives, the largest that the budget pays for."""
    low, high = DENSITIES[-1] / 10, 1.0
    found = at(high)
    if costs.of(found) <= budget * (1 + 1e-9):
        return found
    found = at(low)
    if costs.of(found) > budget:
        raise BudgetTooSmall(budget, costs.of(found))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        made = at(middle)
        if costs.of(made) <= budget * (1 + 1e-9):
            low, found = middle, made
        else:
            high = middle
        if high - low < _FINENESS * high:
            break
    return found


def _options(
    curve: tuple[Sequence[float], Sequence[float]], free: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(densities, losses) to choose from; a lower density never has the smaller loss."""
    densities, losses = (np.array(each, dtype=np.float64) for each in curve)
    order = np.argsort(densities)
    densities, losses = densities[order], losses[order]
    losses = np.maximum.accumulate(losses[::-1])[::-1]
    if not free:
        return densities, losses
    fine = np.geomspace(densities[0], densities[-1], _CHOICES)
    fine[-1] = densities[-1]
    line = np.interp(fine, densities, losses)
    # Down to a loss of 0 there is no line of logarithms.
    inside = np.maximum(losses, losses[losses > 0].min(initial=1.0))
    curve_of_logs = np.exp(np.interp(fine, densities, np.log(inside)))
    lossless = densities[losses == 0].min(initial=np.inf)
    last = densities[densities < lossless].max(initial=0.0)
    return fine, np.where(fine <= last, curve_of_logs, line)


def _moved(table: np.ndarray, steps: int) -> np.ndarray:
    """The table with so many parts of the budget gone."""
    made = np.full_like(table, np.inf)
    if steps < len(table):
        made[steps:] = table[: len(table) - steps]
    return made
