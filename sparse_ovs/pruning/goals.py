"""How far to prune: to a density, to a budget of MACs, or to a measured speed-up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from sparse_ovs.patterns import check_density, parse_pattern
from sparse_ovs.patterns.units import kept_units
from sparse_ovs.pruning.cost import RANKING_POWER, WeightCosts, ranking
from sparse_ovs.pruning.criteria import budget_masks, magnitude_masks
from sparse_ovs.pruning.speedup import SpeedupResult, SpeedupSearch, Weighing

Weights = Mapping[str, Tensor]
Masks = dict[str, Tensor]


class Goal(Protocol):
    """Where pruning ends.

    Attributes:
        criterion: what ranks the weights, in words, for mask files.
        costs: of a weight by layer, by which magnitudes are weighed on the way; None for plain
            magnitude.
    """

    criterion: str
    costs: Mapping[str, float] | None

    def density(self, weights: Weights, pattern: str) -> float | None:
        """Kept fraction of all units in the end, as far as these weights can tell; None where the
        number of rounds decides."""
        ...

    def masks(self, weights: Weights, pattern: str, count: int, previous: Masks | None) -> Masks:
        """The last round's masks, among what the previous ones keep; the schedule would leave
        `count` units."""
        ...

    def describe(self) -> dict[str, Any]:
        """What decides it, JSON-able."""
        ...


class DensityGoal:
    """A kept fraction of all units: global magnitude.

    Args:
        density: 0 < density <= 1; None ends where the schedule's rounds do.

    Raises:
        ValueError, TypeError: a density out of its range.
    """

    criterion = "magnitude, global"
    costs: Mapping[str, float] | None = None

    def __init__(self, density: float | None = None) -> None:
        self._density = None if density is None else check_density(density)

    def density(self, weights: Weights, pattern: str) -> float | None:
        """See `Goal`."""
        return self._density

    def masks(self, weights: Weights, pattern: str, count: int, previous: Masks | None) -> Masks:
        """See `Goal`."""
        if parse_pattern(pattern).kind == "n:m":  # keeps n of every m, and counts nothing
            return magnitude_masks(weights, pattern, self._density, previous=previous)
        return magnitude_masks(weights, pattern, count=count, previous=previous)

    def describe(self) -> dict[str, Any]:
        """See `Goal`."""
        return {"density": self._density}


def check_mac_share(share: float) -> float:
    """The share; raises ValueError or TypeError where it is none with 0 < share <= 1."""
    try:
        return check_density(share)
    except ValueError:
        raise ValueError(f"expected a share of MACs with 0 < share <= 1, got {share}") from None


class MacsGoal:
    """A share of the MACs of the layers that are pruned: squared magnitude over MACs.

    Args:
        share: 0 < share <= 1.
        costs: of `mac_costs`, for the size that the share is meant for.

    Raises:
        ValueError, TypeError: a share out of its range.
    """

    criterion = "squared magnitude over MACs, global"

    def __init__(self, share: float, costs: WeightCosts) -> None:
        self.share = check_mac_share(share)
        self.costs: Mapping[str, float] | None = ranking(costs.per_weight)
        self._prices = costs.per_weight

    def density(self, weights: Weights, pattern: str) -> float:
        """See `Goal`."""
        return _density(self.masks(weights, pattern, 0, None), pattern)

    def masks(self, weights: Weights, pattern: str, count: int, previous: Masks | None) -> Masks:
        """See `Goal`."""
        whole = sum(self._prices[name] * weight.numel() for name, weight in weights.items())
        budget = self.share * whole
        return budget_masks(
            weights, pattern, self._prices, budget, power=RANKING_POWER, previous=previous
        )

    def describe(self) -> dict[str, Any]:
        """See `Goal`."""
        return {"share of MACs": self.share, "MACs of a weight": dict(self._prices)}


class SpeedupGoal:
    """A speed-up over dense torch, measured on this machine.

    Args:
        speedup: above 0.
        search: of the encoder that is pruned.
        weigh: what magnitudes are weighed by.

    Attributes:
        result: of the last masks; None before them.
    """

    def __init__(self, speedup: float, search: SpeedupSearch, weigh: Weighing = "time") -> None:
        self.speedup, self.search, self.weigh = speedup, search, weigh
        self.costs = search.costs(weigh)
        what = {
            "plain": "magnitude",
            "macs": "squared magnitude over MACs",
            "time": "squared magnitude over measured time",
        }
        self.criterion = f"{what[weigh]}, global"
        self.result: SpeedupResult | None = None

    def density(self, weights: Weights, pattern: str) -> float:
        """See `Goal`; by the price list, without timing."""
        return _density(self.search.likely_masks(weights, self.speedup, self.weigh), pattern)

    def masks(self, weights: Weights, pattern: str, count: int, previous: Masks | None) -> Masks:
        """See `Goal`."""
        self.result = self.search.masks_for(weights, self.speedup, self.weigh, previous)
        return self.result.masks

    def describe(self) -> dict[str, Any]:
        """See `Goal`."""
        search = self.search
        contest = {"precision": search.precision, "against": search.against}
        return {"speed-up": self.speedup, "weigh": self.weigh, **contest}


def _density(masks: Masks, pattern: str) -> float:
    """Kept fraction of the units of masks that are made of whole ones."""
    parsed = parse_pattern(pattern)
    units = [kept_units(mask, parsed) for mask in masks.values()]
    return sum(int(u.sum()) for u in units) / sum(u.numel() for u in units)
