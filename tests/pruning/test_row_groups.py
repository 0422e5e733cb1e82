"""Groups of rows, where the best ones were planted or can be enumerated."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparse_ovs.pruning.row_groups import RowGroups


def _planted(groups: int, rows: int, columns: int, seed: int = 0) -> tuple[Tensor, float]:
    """Shuffled magnitudes of groups of rows, each alive in the same quarter of the columns, and
    what the objective is worth at threshold 1 where the groups are found."""
    generator = torch.Generator().manual_seed(seed)
    alive = torch.rand(groups, columns, generator=generator).argsort(1) < columns // 4
    size = 1 + torch.rand(groups, rows, columns, generator=generator)
    magnitude = torch.where(alive[:, None], size, 0.0)
    best = float((magnitude.double().sum(1) - 1).clamp(min=0).sum())
    return magnitude.flatten(0, 1)[torch.randperm(groups * rows, generator=generator)], best


def _objective(magnitude: Tensor, groups: list[list[int]], threshold: float) -> float:
    total = 0.0
    for group in groups:
        for column in range(magnitude.shape[1]):
            total += max(sum(float(magnitude[row, column]) for row in group) - threshold, 0.0)
    return total


def _partitions(rows: list[int], size: int) -> Iterator[list[list[int]]]:
    """All ways to cut rows into groups of a size that divides their number."""
    if not rows:
        yield []
        return
    for others in itertools.combinations(rows[1:], size - 1):
        rest = [row for row in rows[1:] if row not in others]
        for tail in _partitions(rest, size):
            yield [[rows[0], *others], *tail]


@pytest.mark.parametrize("rows", [2, 4, 8])
def test_groups_that_were_planted_are_found(rows: int) -> None:
    magnitude, best = _planted(16, rows, 96)
    groups = RowGroups(magnitude, rows)
    before = groups.objective(1.0)
    groups.start_from_similar(1.0)
    groups.improve(1.0, 50)
    assert before < 0.8 * best
    assert groups.objective(1.0) == pytest.approx(best, rel=1e-9)


def test_swaps_alone_find_most_of_what_was_planted() -> None:
    magnitude, _ = _planted(16, 4, 96)
    best = RowGroups(magnitude, 4)
    best.start_from_similar(1.0)
    threshold = 5.0  # a block needs most of its group
    groups = RowGroups(magnitude, 4)
    before = groups.objective(threshold)
    assert groups.improve(threshold, 50) > 0
    gained = groups.objective(threshold) - before
    assert gained > 0.5 * (best.objective(threshold) - before) > 0


def test_the_objective_is_what_loops_say() -> None:
    magnitude = torch.rand(10, 7)
    groups = RowGroups(magnitude, 4)
    lists = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert groups.objective(1.9) == pytest.approx(_objective(magnitude, lists, 1.9), rel=1e-6)


@given(
    count=st.integers(1, 23),
    columns=st.integers(1, 9),
    rows=st.integers(1, 6),
    zeros=st.floats(0, 1),
    quantile=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_every_step_gains_and_keeps_every_row_once(
    count: int, columns: int, rows: int, zeros: float, quantile: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    magnitude = torch.randn(count, columns, generator=generator).abs()
    magnitude[torch.rand(count, columns, generator=generator) < zeros] = 0
    groups = RowGroups(magnitude, rows)
    threshold = float(groups.scores.flatten().quantile(quantile))
    values = [groups.objective(threshold)]
    groups.start_from_similar(threshold)
    values.append(groups.objective(threshold))
    for _ in range(3):
        swaps = groups.improve(threshold, 1)
        values.append(groups.objective(threshold))
        assert (swaps > 0) == (values[-1] > values[-2])
    assert values == sorted(values)
    assert sorted(groups.order.tolist()) == list(range(count))
    lists = [groups.order[i : i + rows].tolist() for i in range(0, count, rows)]
    expected = _objective(magnitude, lists, threshold)
    assert groups.objective(threshold) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_small_matrices_end_near_the_best_of_all_groupings(seed: int) -> None:
    magnitude = torch.randn(8, 12, generator=torch.Generator().manual_seed(seed)).abs()
    groups = RowGroups(magnitude, 2)
    threshold = float(groups.scores.flatten().quantile(0.8))
    before = groups.objective(threshold)
    best = max(_objective(magnitude, p, threshold) for p in _partitions(list(range(8)), 2))
    groups.start_from_similar(threshold)
    groups.improve(threshold, 50)
    assert before <= groups.objective(threshold) <= best + 1e-9
    assert groups.objective(threshold) >= before + 0.7 * (best - before)


@pytest.mark.parametrize(
    ("count", "columns", "seed", "share"), [(64, 200, 1, 0.02), (32, 30, 0, 0.005)]
)
def test_hardly_a_swap_is_left_that_would_gain(
    count: int, columns: int, seed: int, share: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    magnitude = torch.randn(count, columns, generator=generator).abs()
    groups = RowGroups(magnitude, 4)
    threshold = float(groups.scores.flatten().quantile(0.9))
    groups.start_from_similar(threshold)
    start = groups.objective(threshold)
    groups.improve(threshold, 100)
    end = groups.objective(threshold)
    order, left = groups.order.clone(), 0.0
    for a, b in itertools.combinations(range(count), 2):
        swapped = order.clone()
        swapped[[a, b]] = order[[b, a]]
        scores = magnitude[swapped].double().view(-1, 4, columns).sum(1)
        left = max(left, float((scores - threshold).clamp(min=0).sum()) - end)
    assert left < share * (end - start)


def test_rows_that_are_not_there_stay_in_the_last_group() -> None:
    swaps = 0
    for seed in range(40):
        magnitude = torch.randn(10, 6, generator=torch.Generator().manual_seed(seed)).abs()
        groups = RowGroups(magnitude, 4)
        threshold = float(groups.scores.flatten().quantile(0.8))
        groups.start_from_similar(threshold)
        swaps += groups.improve(threshold, 20)
        assert groups.groups[-1, 2:].tolist() == [10, 11]
        assert len(groups.order) == 10
    assert swaps > 0


def test_the_same_magnitudes_give_the_same_order() -> None:
    magnitude = torch.rand(40, 30)
    orders = []
    for _ in range(2):
        groups = RowGroups(magnitude, 4)
        groups.start_from_similar(3.0)
        groups.improve(3.0, 50)
        orders.append(groups.order)
    assert torch.equal(*orders)


def test_layers_of_zeros_and_infinite_thresholds_stay_as_they_are() -> None:
    for magnitude, threshold in ((torch.zeros(8, 3), 0.0), (torch.rand(8, 3), float("inf"))):
        groups = RowGroups(magnitude, 4)
        groups.start_from_similar(threshold)
        assert groups.improve(threshold, 5) == 0
        assert groups.order.tolist() == list(range(8))
