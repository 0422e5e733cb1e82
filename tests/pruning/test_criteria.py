"""Magnitude over many layers, by density, count or budget, against plain sorting."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparse_ovs.patterns import kept_count, make_global_masks, make_mask, parse_pattern
from sparse_ovs.patterns.units import kept_units, unit_sizes
from sparse_ovs.pruning import budget_masks, iterative, magnitude_masks, unit_counts
from sparse_ovs.pruning.criteria import kept_magnitude

PATTERNS = ["unstructured", "block4x1", "block2x3", "channel"]


def _weights(seed: int = 0) -> dict[str, Tensor]:
    """Small whole numbers, so that many magnitudes are equal and all sums are exact."""
    random = torch.Generator().manual_seed(seed)
    shapes = {"conv": (6, 3, 2, 2), "point": (5, 7, 1, 1), "linear": (4, 9)}
    return {
        name: torch.randint(-3, 4, shape, generator=random).float()
        for name, shape in shapes.items()
    }


def _by_sorting(
    weights: dict[str, Tensor],
    pattern: str,
    costs: dict[str, float],
    budget: float,
    previous: dict[str, Tensor] | None = None,
) -> dict[str, list[int]]:
    """Indices of kept units by layer: a loop over a sorted list of Python numbers."""
    parsed = parse_pattern(pattern)
    units = []
    for place, (name, weight) in enumerate(weights.items()):
        flat = weight.movedim(1, -1).reshape(weight.shape[0], -1).abs().tolist()
        sizes = unit_sizes(weight.shape, parsed)
        alive = None if previous is None else kept_units(previous[name], parsed).flatten()
        height = parsed.first if parsed.kind == "block" else 1
        width = {"block": parsed.second, "channel": len(flat[0])}.get(parsed.kind, 1)
        for index in range(sizes.numel()):
            if alive is not None and not alive[index]:
                continue
            top, left = (height * (index // sizes.shape[1]), width * (index % sizes.shape[1]))
            rows = flat[top : top + height]
            value = sum(sum(row[left : left + width]) for row in rows)
            size = sum(len(row[left : left + width]) for row in rows)
            price = size * Fraction(costs[name])
            units.append((-Fraction(value) / price, place, index, price, name))
    kept: dict[str, list[int]] = {name: [] for name in weights}
    left_over = Fraction(budget)
    for _, _, index, price, name in sorted(units):
        if price > left_over:
            break
        left_over -= price
        kept[name].append(index)
    return {name: sorted(indices) for name, indices in kept.items()}


@given(
    pattern=st.sampled_from(PATTERNS),
    prices=st.tuples(*[st.integers(1, 4)] * 3),
    share=st.floats(0, 1.1),
    seed=st.integers(0, 20),
    again=st.booleans(),
)
def test_a_budget_buys_units_in_order_of_magnitude_over_cost_until_one_is_too_dear(
    pattern: str, prices: tuple[int, ...], share: float, seed: int, again: bool
) -> None:
    weights = _weights(seed)
    costs = dict(zip(weights, map(float, prices), strict=True))
    everything = sum(weight.numel() * costs[name] for name, weight in weights.items())
    previous = magnitude_masks(weights, pattern, 0.6) if again else None
    masks = budget_masks(weights, pattern, costs, share * everything, previous=previous)
    expected = _by_sorting(weights, pattern, costs, share * everything, previous)
    for name, mask in masks.items():
        kept = kept_units(mask, parse_pattern(pattern)).flatten().nonzero().squeeze(1)
        assert kept.tolist() == expected[name]


def test_a_budget_is_spent_exactly_and_never_passed() -> None:
    weights = {"a": torch.ones(1, 3), "b": torch.ones(1, 30)}
    # 0.1 is a little more than a tenth in binary: ten of them are more than 1.
    masks = budget_masks(weights, "unstructured", {"a": 1e6, "b": 0.1}, 1.0)
    assert int(masks["a"].sum()) == 0
    assert int(masks["b"].sum()) == 9
    masks = budget_masks(weights, "unstructured", {"a": 1e6, "b": 0.125}, 1.0)
    assert int(masks["b"].sum()) == 8
    assert masks["b"][0, :8].all()


def test_a_budget_for_everything_keeps_zeros_too_and_none_keeps_nothing() -> None:
    weights = {"a": torch.zeros(2, 2), "b": torch.randn(2, 2)}
    costs = {"a": 1.0, "b": 2.0}
    for budget in (12, 1e30):
        masks = budget_masks(weights, "unstructured", costs, budget)
        assert all(bool(mask.all()) for mask in masks.values())
    assert not any(bool(m.any()) for m in budget_masks(weights, "unstructured", costs, 0).values())
    assert budget_masks({}, "unstructured", {}, 1) == {}


@pytest.mark.parametrize(
    ("pattern", "costs", "budget", "message"),
    [
        ("2:4", {"a": 1.0}, 1, "expected a pattern of whole units, got '2:4'"),
        ("unstructured", {}, 1, "expected a cost for every layer, got none for a"),
        ("unstructured", {"a": -1.0}, 1, r"expected a positive, finite cost for a, got -1\.0"),
        ("unstructured", {"a": 1.0}, -1, "expected a finite budget of at least 0, got -1"),
        ("unstructured", {"a": 1.0}, float("nan"), "expected a finite budget of at least 0, got"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(
    pattern: str, costs: dict[str, float], budget: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        budget_masks({"a": torch.ones(4, 4)}, pattern, costs, budget)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_iterative_rounds_are_nested_and_counted_exactly(pattern: str) -> None:
    weights = _weights()  # full of equal magnitudes
    masks = None
    for count in iterative(sum(unit_counts(weights, pattern).values()), rounds=12, fraction=0.2):
        later = magnitude_masks(weights, pattern, count=count, previous=masks)
        kept = [kept_units(mask, parse_pattern(pattern)) for mask in later.values()]
        assert sum(int(units.sum()) for units in kept) == count
        if masks is not None:
            assert all(bool((masks[name] | ~later[name]).all()) for name in weights)
        masks = later
        # What training between the rounds does: pruned weights are zero, some others are as well.
        weights = {name: w * later[name] * (w.abs() > 1) for name, w in weights.items()}


def test_rounds_without_training_between_them_are_the_one_shot_mask() -> None:
    weights = _weights()
    masks = None
    for count in (60, 40, 20):
        masks = magnitude_masks(weights, count=count, previous=masks)
    one_shot = magnitude_masks(weights, count=20)
    assert masks is not None
    assert all(torch.equal(masks[name], one_shot[name]) for name in weights)


@pytest.mark.parametrize("pattern", [*PATTERNS, "2:4"])
def test_by_layer_each_layer_is_pruned_for_itself(pattern: str) -> None:
    weights = _weights()
    density = 0.5
    masks = magnitude_masks(weights, pattern, density, scope="layer")
    assert all(torch.equal(masks[n], make_mask(w, pattern, density)) for n, w in weights.items())


def test_by_layer_densities_and_counts_may_differ() -> None:
    weights = _weights()
    densities = {"conv": 0.1, "point": 0.5, "linear": 1.0}
    masks = magnitude_masks(weights, density=densities, scope="layer")
    for name, weight in weights.items():
        assert int(masks[name].sum()) == kept_count(densities[name], weight.numel())
    counts = {"conv": 0, "point": 7, "linear": 36}
    masks = magnitude_masks(weights, count=counts, scope="layer")
    assert {name: int(mask.sum()) for name, mask in masks.items()} == counts


def test_by_layer_a_later_round_prunes_among_what_remains() -> None:
    weights = {name: torch.zeros_like(w) for name, w in _weights().items()}
    previous = {name: torch.rand(w.shape) < 0.5 for name, w in weights.items()}
    masks = magnitude_masks(weights, density=0.2, scope="layer", previous=previous)
    for name, weight in weights.items():
        assert int(masks[name].sum()) == kept_count(0.2, weight.numel())
        assert bool((previous[name] | ~masks[name]).all())


def test_global_masks_are_those_of_one_threshold_with_costs_too() -> None:
    weights = _weights()
    costs = {"conv": 4.0, "point": 1.0, "linear": 2.0}
    ours = magnitude_masks(weights, "block4x1", 0.3, costs=costs)
    expected = make_global_masks(weights, "block4x1", 0.3, costs=costs)
    assert all(torch.equal(ours[name], expected[name]) for name in weights)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"density": {"a": 1.0}}, ValueError, "expected one density with scope 'global', got one"),
        ({"count": {"a": 1}}, ValueError, "expected one count with scope 'global', got one"),
        ({"scope": "net", "count": 1}, ValueError, "expected scope 'global' or 'layer', got 'net'"),
        (
            {"scope": "layer", "density": 0.5, "costs": {"a": 1.0}},
            ValueError,
            "expected no costs with scope 'layer'",
        ),
        ({"scope": "layer", "count": 1}, TypeError, "expected a count for each layer with scope"),
        (
            {"scope": "layer", "count": {}},
            ValueError,
            "expected a value for every layer, got none for a",
        ),
        (
            {"scope": "layer", "density": 0.5, "previous": {}},
            ValueError,
            "expected a previous mask of every layer",
        ),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        magnitude_masks({"a": torch.ones(2, 2)}, **arguments)  # type: ignore[arg-type]


def test_kept_magnitude_is_a_share_of_all_layers_together() -> None:
    weights = {"a": torch.tensor([[3.0, -1.0]]), "b": torch.tensor([[4.0]])}
    masks = {"a": torch.tensor([[True, False]]), "b": torch.tensor([[False]])}
    assert kept_magnitude(weights, masks) == 3 / 8


def test_a_power_of_one_half_ranks_by_squared_magnitude_over_cost() -> None:
    weights = {"dear": torch.tensor([[4.0]]), "cheap": torch.tensor([[1.2, 0.5]])}
    costs = {"dear": 9.0, "cheap": 1.0}
    # By w / cost: 0.44, 1.2 and 0.5. By w^2 / cost: 1.78, 1.44 and 0.25.
    plain = budget_masks(weights, "unstructured", costs, 10.0)
    assert [mask.tolist() for mask in plain.values()] == [[[False]], [[True, True]]]
    squared = budget_masks(weights, "unstructured", costs, 10.0, power=0.5)
    assert [mask.tolist() for mask in squared.values()] == [[[True]], [[True, False]]]
