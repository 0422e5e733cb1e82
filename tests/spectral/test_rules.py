"""Rules that freeze by a score."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.spectral import rules

_SCORES = st.lists(st.integers(1, 9), min_size=1, max_size=8).map(
    lambda values: {f"l{i}": float(value) for i, value in enumerate(values)}
)


def test_27_of_55_different_scores_are_below_the_median() -> None:
    scores = {f"l{i}": float(i * 37 % 55) for i in range(55)}
    assert len(rules.below_median(scores)) == len(rules.above_median(scores)) == 27


def test_the_median_itself_is_never_frozen() -> None:
    scores = {"a": 1.0, "b": 2.0, "c": 2.0, "d": 2.0, "e": 3.0}
    assert rules.below_median(scores) == {"a"}
    assert rules.above_median(scores) == {"e"}


@pytest.mark.parametrize(("ratio", "count"), [(0, 0), (0.25, 13), (0.29, 15), (1, 55)])
def test_a_ratio_freezes_so_many_smallest(ratio: float, count: int) -> None:
    scores = {f"l{i}": float(i * 37 % 55) for i in range(55)}
    frozen = rules.smallest(scores, ratio)
    assert sorted(scores[name] for name in frozen) == list(range(count))


def test_a_ratio_is_not_cut_short_by_rounding() -> None:
    assert len(rules.smallest({f"l{i}": float(i) for i in range(100)}, 0.29)) == 29


def test_the_largest_gap_divides() -> None:
    scores = {"e": 5.2, "a": 1.0, "b": 1.1, "d": 5.1, "c": 1.4}
    assert rules.below_largest_gap(scores) == {"a", "b", "c"}


def test_an_outlier_does_not_decide_the_gap() -> None:
    scores = dict(zip("abcdefgh", (1.0, 1.1, 1.2, 1.3, 2.0, 2.1, 2.2, 99.0), strict=True))
    assert rules.below_largest_gap(scores) == {"a", "b", "c", "d"}
    assert rules.below_largest_gap(scores, margin=0) == set("abcdefg")


@given(_SCORES, st.lists(st.integers(0, 20), min_size=8, max_size=8), st.integers(0, 10))
def test_the_budget_is_kept_at_the_smallest_sum_of_ranks(
    scores: dict[str, float], sizes: list[int], tenths: int
) -> None:
    macs = dict(zip(scores, map(float, sizes), strict=False))
    trained = tenths / 10
    ranks = rules.ranks(scores)
    total = sum(macs.values())
    best = math.inf, 0.0
    for count in range(len(scores) + 1):
        for frozen in itertools.combinations(scores, count):
            has = sum(macs[name] for name in frozen)
            if total - has <= trained * total + 1e-6:
                best = min(best, (sum(ranks[name] for name in frozen), -has))
    chosen = rules.within_budget(scores, macs, trained)
    found = sum(ranks[name] for name in chosen), -sum(macs[name] for name in chosen)
    assert found == best


@given(_SCORES)
def test_ranks_count_what_is_smaller_and_half_of_what_is_equal(scores: dict[str, float]) -> None:
    for name, rank in rules.ranks(scores).items():
        smaller = sum(score < scores[name] for score in scores.values())
        equal = sum(score == scores[name] for score in scores.values())
        assert rank == smaller + (equal + 1) / 2


def test_an_ensemble_is_the_mean_rank() -> None:
    one, two = {"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 500.0, "b": 5.0, "c": 50.0}
    assert rules.ensemble({"one": one, "two": two}) == {"a": 2, "b": 1.5, "c": 2.5}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rules.below_median({}), "at least one score"),
        (lambda: rules.below_median({"a": math.nan}), "NaN for a"),
        (lambda: rules.smallest({"a": 1.0}, 1.1), "ratio from 0 to 1"),
        (lambda: rules.below_largest_gap({"a": 1.0}), "at least two"),
        (lambda: rules.below_largest_gap({"a": 1.0, "b": 2.0}, 0.6), "margin"),
        (lambda: rules.within_budget({"a": 1.0}, {}, 0.5), "MACs of every layer, got none of a"),
        (lambda: rules.within_budget({"a": 1.0}, {"a": 1.0}, -0.1), "fraction of MACs"),
        (lambda: rules.ensemble({}), "at least one metric"),
        (lambda: rules.ensemble({"x": {"a": 1.0}, "y": {"b": 1.0}}), "same layers"),
    ],
)
def test_arguments_out_of_range_are_refused(call: object, words: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=words):
        call()
