"""Sharing a budget among layers: against all choices there are, and at its ends."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from sparse_ovs.compression.allocation import BudgetTooSmall, filled, least_loss
from sparse_ovs.compression.costs import Costs, rising

DENSITIES = (1.0, 0.5, 0.25, 0.1)


def costs_of(**dense: float) -> Costs:
    return Costs("MACs", {name: [(0.0, 0.0), (1.0, cost)] for name, cost in dense.items()})


def random_curves(seed: int, names: str) -> dict[str, tuple[tuple[float, ...], list[float]]]:
    random = np.random.default_rng(seed)
    return {name: (DENSITIES, [0.0, *np.sort(random.random(3))]) for name in names}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [130.0, 300.0, 600.0, 1110.0])
def test_no_other_choice_of_the_curves_densities_loses_less(seed: int, budget: float) -> None:
    curves = random_curves(seed, "abc")
    costs = costs_of(a=10.0, b=100.0, c=1000.0)
    found = least_loss(curves, costs, budget, free=False)

    def loss(choice: tuple[float, ...]) -> float:
        pairs = zip(curves.values(), choice, strict=True)
        return sum(losses[DENSITIES.index(density)] for (_, losses), density in pairs)

    assert costs.of(found) <= budget
    best = min(
        loss(choice)
        for choice in product(DENSITIES, repeat=3)
        if costs.of(dict(zip("abc", choice, strict=True))) <= 0.999 * budget
    )
    assert loss(tuple(found.values())) <= best + 1e-12


def test_free_densities_use_the_budget_up() -> None:
    costs = costs_of(a=10.0, b=100.0, c=1000.0)
    found = least_loss(random_curves(0, "abc"), costs, 500.0, free=True)
    assert costs.of(found) == pytest.approx(500.0, rel=1e-4)
    assert costs.of(found) <= 500.0


def test_a_budget_for_everything_prunes_nothing() -> None:
    costs = costs_of(a=10.0, b=100.0)
    found = least_loss(random_curves(0, "ab"), costs, 110.0, free=True)
    assert found == {"a": 1.0, "b": 1.0}


def test_the_layer_that_loses_more_keeps_more() -> None:
    steep, flat = [0.0, 0.3, 0.6, 0.9], [0.0, 0.01, 0.02, 0.03]
    curves = {"steep": (DENSITIES, steep), "flat": (DENSITIES, flat)}
    found = least_loss(curves, costs_of(steep=1.0, flat=1.0), 1.0, free=True)
    assert found["steep"] > 2 * found["flat"]


def test_a_budget_below_the_sparsest_encoder_says_what_that_costs() -> None:
    with pytest.raises(BudgetTooSmall, match="at least 11, got 5") as caught:
        least_loss(random_curves(0, "ab"), costs_of(a=10.0, b=100.0), 5.0, free=True)
    assert caught.value.least == pytest.approx(11.0)


def test_a_fixed_part_is_paid_for_first() -> None:
    costs = Costs("seconds", {"a": [(0.1, 2.0), (1.0, 20.0)]}, fixed=10.0)
    found = least_loss({"a": (DENSITIES, [0.0, 0.1, 0.2, 0.3])}, costs, 20.0, free=True)
    assert found["a"] == pytest.approx(0.5, abs=0.01)


def test_filling_up_keeps_proportions_as_far_as_they_go() -> None:
    found = filled({"a": 0.1, "b": 0.4}, costs_of(a=100.0, b=100.0), 100.0)
    assert found["a"] / found["b"] == pytest.approx(0.25)
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-4)
    assert filled({"a": 0.1, "b": 0.4}, costs_of(a=100.0, b=100.0), 180.0)["b"] == 1.0


def test_costs_are_lines_between_densities_that_were_measured() -> None:
    costs = Costs("seconds", {"a": rising([(1.0, 8.0), (0.5, 3.0), (0.25, 3.5)])})
    assert costs.layer("a", 0.75) == pytest.approx(5.75)
    assert costs.layer("a", 0.3) == pytest.approx(3.5)  # noise: the denser point is no cheaper
    assert costs.layer("a", 0.0) == pytest.approx(3.5)


def test_costs_at_one_density_are_refused() -> None:
    with pytest.raises(ValueError, match="expected costs at two densities or more"):
        rising([(1.0, 8.0)])
