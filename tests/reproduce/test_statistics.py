"""Paired differences against scipy's own tests, and what correction and power give by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sparse_ovs.reproduce.statistics import Paired, paired, seeds_needed, told_apart


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=2, max_size=8))
def test_a_paired_difference_has_the_p_and_the_interval_of_scipys_test(
    pairs: list[tuple[float, float]],
) -> None:
    a, b = zip(*pairs, strict=True)
    found = paired(a, b)
    if found.deviation is None or found.deviation < 1e-6:
        return
    expected = stats.ttest_rel(a, b)
    low, high = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert found.half is not None
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))


def test_one_pair_has_a_mean_alone() -> None:
    assert paired([3.0], [1.0]) == Paired(2.0, None, None, None, 1)


def test_equal_differences_are_sure_unless_they_are_zero() -> None:
    assert paired([1.0, 2.0], [0.0, 1.0]).p == 0.0
    assert paired([1.0, 2.0], [1.0, 2.0]).p == 1.0


def test_values_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="expected at least one pair, got none"):
        paired([], [])


def of_p(p: float) -> Paired:
    return Paired(1.0, 1.0, 1.0, p, 5)


def test_the_correction_steps_down_from_the_smallest_p_and_stops_at_the_first_too_large() -> None:
    # Three tests: 0.01 * 3 and 0.02 * 2 are below 0.05; with 0.03 * 2 it stops before 0.04 * 1.
    assert told_apart([of_p(0.02), of_p(0.2), of_p(0.01)]) == [True, False, True]
    assert told_apart([of_p(0.04), of_p(0.03), of_p(0.01)]) == [False, False, True]


def test_what_was_not_tested_counts_for_nothing() -> None:
    family = [None, paired([3.0], [1.0]), of_p(0.04)]
    assert told_apart(family) == [False, False, True]


@pytest.mark.parametrize("deviation", [0.4, 1.3])
def test_as_many_seeds_as_are_needed_find_the_difference_four_times_in_five(
    deviation: float,
) -> None:
    seeds = seeds_needed(deviation)
    assert seeds is not None
    draw = np.random.default_rng(0)

    def found(count: int) -> float:
        p = stats.ttest_1samp(draw.normal(1.0, deviation, (20_000, count)), 0.0, axis=1).pvalue
        return float((p < 0.05).mean())

    assert found(seeds) > 0.79
    assert found(seeds - 1) < 0.81


def test_power_has_its_ends() -> None:
    assert seeds_needed(0.0) == 2
    assert seeds_needed(100.0) is None
