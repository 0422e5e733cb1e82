"""Densities by layer for what is asked for, from losses and costs of layers that are measured
once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparse_ovs.compression.allocation import (
    DENSITIES,
    BudgetTooSmall,
    Curves,
    Densities,
    global_magnitude,
    least_loss,
    uniform,
)
from sparse_ovs.compression.costs import Costs, mac_costs, weight_costs
from sparse_ovs.compression.dense_encoder import DenseEncoder
from sparse_ovs.compression.layers import Layer
from sparse_ovs.compression.one_layer import loss_by_density
from sparse_ovs.compression.settings import CompressionSettings
from sparse_ovs.compression.state import RunState
from sparse_ovs.compression.timing import Stopwatch
from sparse_ovs.compression.walk import Inputs
from sparse_ovs.patterns import parse_pattern
from sparse_ovs.pruning.speedup import next_price

_LIKELY = 0.03  # of the asked speed-up, that likely masks may miss
_MOST_TRIES = 6


@dataclass(frozen=True)
class Plan:
    """Attributes: kept fractions by layer, and the listed price that they were chosen for."""

    densities: Densities
    price: float

    @property
    def is_dense(self) -> bool:
        """Whether nothing is pruned."""
        return min(self.densities.values()) >= 1


class Planner:
    """Plans compressions of one encoder.

    Args:
        dense: the encoder.
        settings: of the first of them; the others differ in how far they go.
        stopwatch: of the encoder.
        state: keeps what is measured.
    """

    def __init__(
        self,
        dense: DenseEncoder,
        settings: CompressionSettings,
        stopwatch: Stopwatch,
        state: RunState,
    ) -> None:
        self._dense, self._settings = dense, settings
        self._stopwatch, self._state = stopwatch, state
        self._found_curves: Curves | None = None
        self._dense_seconds = 0.0
        if settings.budget == "density":
            self._costs = weight_costs(dense.layers)
        elif settings.budget == "budget_macs":
            self._costs = mac_costs(dense.layers)
        else:
            told = state.json("times", self._measured)
            self._costs = Costs("seconds", told["lines"], told["fixed"])
            self._dense_seconds = told["dense"]

    def price(self, amount: float) -> float:
        """Of what is asked for, as listed: weights, MACs, or seconds of one image.

        Args:
            amount: a share, or a speed-up.
        """
        if self._costs.unit == "seconds":
            return self._dense_seconds / amount
        return amount * self._costs.dense

    def plan(self, amount: float, price: float) -> Plan:
        """Densities at a listed price; for a speed-up nearby, where masks of such densities,
        whichever weights they keep, have it when they are timed.

        Raises:
            ValueError: a budget that pruning cannot reach.
        """
        if self._costs.unit == "seconds":
            return self._timed(amount, price)
        try:
            return Plan(self._densities(price), price)
        except BudgetTooSmall as error:
            settings = self._settings
            raise ValueError(
                f"expected a {settings.budget} of at least {error.least / self._costs.dense:.3g} "
                f"for pattern {settings.pattern!r}, got {amount:g}"
            ) from None

    def next_price(self, amount: float, tries: Sequence[tuple[float, float]]) -> float:
        """The listed price whose masks should have a speed-up.

        Args:
            tries: (listed price, measured speed-up) so far.
        """
        wanted = self.price(amount)
        # By the ratio, which drifting clocks and busy neighbours change less than times.
        return next_price(wanted, [(price, wanted * amount / speedup) for price, speedup in tries])

    def _timed(self, amount: float, price: float) -> Plan:
        tries: list[tuple[float, float]] = []
        plans: list[tuple[float, Plan]] = []
        for _ in range(_MOST_TRIES):
            sparsest = False
            try:
                densities = self._densities(price)
            except BudgetTooSmall as error:
                sparsest, price = True, error.least
                densities = self._densities(price * (1 + 1e-6))
            speedup = self._stopwatch.likely_speedup(densities)
            miss = speedup / amount - 1
            plan = Plan(densities, price)
            plans.append((abs(miss), plan))
            if abs(miss) <= _LIKELY or (plan.is_dense and miss > 0):
                break
            if sparsest and miss < 0:
                raise ValueError(
                    f"expected a speed-up that pruning reaches, up to {speedup:.3g} here, got "
                    f"{amount:g}"
                )
            tries.append((price, speedup))
            price = self.next_price(amount, tries)
        return min(plans, key=lambda one: one[0])[1]

    def _densities(self, price: float) -> Densities:
        layers, pattern = self._dense.layers, self._settings.pattern
        if self._settings.chosen_allocation == "uniform":
            return uniform(layers, self._costs, price)
        if self._settings.chosen_allocation == "global":
            return global_magnitude(layers, pattern, self._costs, price)
        free = parse_pattern(pattern).kind != "n:m"
        return least_loss(self._curves(), self._costs, price, free)

    def _curves(self) -> Curves:
        if self._found_curves is None:
            self._found_curves = self._losses()
        return self._found_curves

    def _losses(self) -> Curves:
        """Of the outputs: those of each layer times how much the outputs feel them."""
        parsed = parse_pattern(self._settings.pattern)
        some = (1.0, parsed.first / parsed.second) if parsed.kind == "n:m" else DENSITIES
        found: dict[str, list[float]] = {}
        state = self._state.part("losses")
        felt = state.json("felt", lambda: self._dense.sensitivities(self._settings.seed))

        def visit(layer: Layer, inputs: Inputs) -> None:
            def make() -> list[float]:
                return loss_by_density(layer, inputs, some, self._settings)

            found[layer.name] = state.json(f"layer-{len(found):03d}", make)

        self._dense.visit(visit, "losses of")
        return {
            name: (some, [felt[name] * loss for loss in losses]) for name, losses in found.items()
        }

    def _measured(self) -> dict[str, Any]:
        costs = self._stopwatch.layer_costs()
        dense = self._stopwatch.dense_seconds()
        return {"lines": dict(costs.lines), "fixed": costs.fixed, "dense": dense}
