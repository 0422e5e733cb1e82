"""What a layer costs at a density: weights, multiply-accumulates, or measured time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

from sparse_ovs.compression.layers import Layer

Unit = Literal["weights", "MACs", "seconds"]
# (density, cost), densities rising; a line between two of them, and on to 0 from the first.
Line = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Costs:
    """The cost of one image as a sum over layers.

    Attributes:
        unit: of all costs.
        lines: by layer: its cost by density.
        fixed: what is no layer's.
    """

    unit: Unit
    lines: Mapping[str, Line]
    fixed: float = 0.0

    def layer(self, name: str, density: float) -> float:
        """Of one layer; no less than that of a lower density."""
        line = self.lines[name]
        place = min(max(bisect_left([at for at, _ in line], density), 1), len(line) - 1)
        (low, cheap), (high, dear) = line[place - 1], line[place]
        return max(0.0, cheap + (density - low) / (high - low) * (dear - cheap))

    def of(self, densities: Mapping[str, float]) -> float:
        """Of one forward at these densities by layer."""
        return self.fixed + sum(self.layer(name, density) for name, density in densities.items())

    @property
    def dense(self) -> float:
        """Of the layers with all weights."""
        return sum(self.layer(name, 1.0) for name in self.lines)

    def per_weight(self, layers: Sequence[Layer]) -> dict[str, float]:
        """Of a weight by layer, as a ranking over all layers takes it."""
        return {
            each.name: max(self.layer(each.name, 1.0), 1e-30) / each.weight.numel()
            for each in layers
        }


def weight_costs(layers: Sequence[Layer]) -> Costs:
    """Kept weights."""
    return Costs("weights", {each.name: _through_zero(each.weight.numel()) for each in layers})


def mac_costs(layers: Sequence[Layer]) -> Costs:
    """MACs of the layers."""
    return Costs("MACs", {each.name: _through_zero(each.macs) for each in layers})


def rising(line: Line) -> Line:
    """The line with noise taken out: no denser point is cheaper.

    Raises:
        ValueError: fewer than two points, or two at one density.
    """
    line = sorted(line)
    if len(line) < 2 or any(a == b for (a, _), (b, _) in pairwise(line)):
        raise ValueError(f"expected costs at two densities or more, got {line}")
    most = accumulate((cost for _, cost in line), max)
    return [(density, cost) for (density, _), cost in zip(line, most, strict=True)]


def _through_zero(dense: float) -> Line:
    return [(0.0, 0.0), (1.0, float(dense))]
