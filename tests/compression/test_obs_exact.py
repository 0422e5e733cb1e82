"""Greedy OBS: every step's mask and weights are brute force's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.compression.layer_problem import LayerProblem
from sparse_ovs.compression.obs_exact import trace
from sparse_ovs.compression.prune import PrunedLayer, prune_layer
from sparse_ovs.patterns import parse_pattern
from support.layer_problems import Unit, brute_force, random_problem


def rows_of_grams(problem: LayerProblem) -> torch.Tensor:
    return problem.damped_gram().repeat_interleave(problem.weight.shape[1], 0)


def keeping(problem: LayerProblem, pattern: str, kept: int, units: int) -> PrunedLayer:
    return prune_layer(problem, min(1.0, (kept + 0.5) / units), pattern, "exact")


def check_all_steps(problem: LayerProblem, pattern: str, units: list[Unit]) -> None:
    start = problem.start()
    steps = brute_force(rows_of_grams(problem), start.flatten(0, 1), units)
    for pruned, (mask, weight) in enumerate(steps, 1):
        layer = keeping(problem, pattern, len(units) - pruned, len(units))
        assert torch.equal(layer.mask.flatten(0, 1), mask)
        torch.testing.assert_close(layer.weight.flatten(0, 1), weight, rtol=1e-6, atol=1e-9)


@given(
    rows=st.integers(1, 3), columns=st.integers(1, 5), seed=st.integers(0, 999), drift=st.booleans()
)
def test_each_weight_that_goes_is_the_cheapest_of_all_rows(
    rows: int, columns: int, seed: int, drift: bool
) -> None:
    problem = random_problem(1, rows, columns, seed, drift=0.2 * drift)
    check_all_steps(
        problem, "unstructured", [((r,), c) for r in range(rows) for c in range(columns)]
    )


@given(rows=st.integers(1, 2), seed=st.integers(0, 999))
def test_groups_prune_by_grams_of_their_own_and_share_the_density(rows: int, seed: int) -> None:
    problem = random_problem(3, rows, 4, seed)
    check_all_steps(problem, "unstructured", [((r,), c) for r in range(3 * rows) for c in range(4)])


@pytest.mark.parametrize(("groups", "rows"), [(1, 8), (1, 6), (2, 4), (6, 1), (2, 3)])
def test_rows_of_a_block_lose_the_column_that_costs_them_least_together(
    groups: int, rows: int
) -> None:
    problem = random_problem(groups, rows, 5, seed=groups)
    count = groups * rows
    blocks = [tuple(range(r, min(r + 4, count))) for r in range(0, count, 4)]
    check_all_steps(problem, "block4x1", [(block, c) for block in blocks for c in range(5)])


@given(rows=st.integers(1, 3), columns=st.integers(1, 7), seed=st.integers(0, 99))
def test_n_of_m_is_what_brute_force_leaves_in_every_group(
    rows: int, columns: int, seed: int
) -> None:
    problem = random_problem(1, rows, columns, seed)

    def has_more_than_two(mask: torch.Tensor, unit: Unit) -> bool:
        (row,), first = unit[0], unit[1] // 4 * 4
        return int(mask[row, first : first + 4].sum()) > 2

    units: list[Unit] = [((r,), c) for r in range(rows) for c in range(columns)]
    start = problem.start()[0]
    dense = (torch.ones_like(start, dtype=torch.bool), start)
    steps = brute_force(rows_of_grams(problem), start, units, has_more_than_two)
    mask, weight = [dense, *steps][-1]
    layer = prune_layer(problem, 0.5, "2:4", "exact")
    assert torch.equal(layer.mask[0], mask)
    torch.testing.assert_close(layer.weight[0], weight, rtol=1e-6, atol=1e-9)


@given(rows=st.integers(1, 5), columns=st.integers(1, 8), seed=st.integers(0, 99))
def test_the_costs_of_the_steps_add_up_to_the_damped_loss(
    rows: int, columns: int, seed: int
) -> None:
    problem = random_problem(1, rows, columns, seed)
    steps = trace(problem, problem.start(), parse_pattern("unstructured"), 0.01)
    everything = problem.start()[0]
    power = (everything @ problem.damped_gram()[0] * everything).sum(1)
    torch.testing.assert_close(steps.costs.sum(1), power, rtol=1e-8, atol=0)
    assert torch.equal(steps.columns.sort(1).values, torch.arange(columns).expand(rows, -1))


def test_many_rows_are_traced_in_parts_of_one_result(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(3, 5, 6, 0)
    whole = trace(problem, problem.start(), parse_pattern("block4x1"), 0.01)
    monkeypatch.setattr("sparse_ovs.compression.obs_exact._CHUNK", 1)
    parts = trace(problem, problem.start(), parse_pattern("block4x1"), 0.01)
    assert torch.equal(whole.columns, parts.columns)
    torch.testing.assert_close(whole.costs, parts.costs)


@pytest.mark.parametrize("pattern", ["block2x2", "channel"])
def test_units_of_several_columns_are_refused(pattern: str) -> None:
    problem = random_problem(1, 2, 4, 0)
    with pytest.raises(ValueError, match=f"expected units of one column, got pattern '{pattern}'"):
        prune_layer(problem, 0.5, pattern, "exact")
