"""Schedules: whole numbers that fall to exactly what was asked for."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.patterns import kept_count
from sparse_ovs.pruning import gradual, iterative, one_shot

RN50 = 23_445_504
totals = st.integers(1, 10**9)
densities = st.integers(1, 100).map(lambda percent: percent / 100)


def test_22_rounds_of_a_tenth_leave_the_golden_count_of_rn50() -> None:
    counts = iterative(RN50, rounds=22)
    assert len(counts) == 22
    assert counts[0] == RN50 - 2_344_550
    assert counts[-1] == 2_308_849
    assert counts[-1] / RN50 == pytest.approx(0.0985, abs=5e-5)
    assert counts[20] / RN50 == pytest.approx(0.1094, abs=5e-5)


def test_a_round_removes_the_floor_of_the_fraction_as_it_was_written() -> None:
    # 0.1 of 30 in binary floating point is 3.0000000000000004, 0.7 of 10 is 7.000000000000001 less.
    assert iterative(30, rounds=2, fraction=0.1) == [27, 25]
    assert iterative(10**18 + 9, rounds=1, fraction=0.7) == [10**18 + 9 - 7 * 10**17 - 6]


@given(total=totals, density=densities)
def test_an_iterative_schedule_ends_with_exactly_the_density(total: int, density: float) -> None:
    counts = iterative(total, density=density)
    assert counts[-1] == kept_count(density, total)
    before = total
    for count in counts[:-1]:
        assert count == before - before // 10 < before
        before = count
    # The last round removes no more than the others would, unless those would remove nothing.
    assert counts[-1] >= before - before // 10 or before < 10


@given(total=totals, rounds=st.integers(1, 40))
def test_rounds_are_as_many_as_asked_for_and_never_rise(total: int, rounds: int) -> None:
    counts = iterative(total, rounds=rounds)
    assert len(counts) == rounds
    assert all(b == a - a // 10 for a, b in zip([total, *counts[:-1]], counts, strict=True))


@given(total=totals, density=densities, rounds=st.integers(1, 40))
def test_the_gradual_schedule_is_zhu_and_gupta_s_cubic(
    total: int, density: float, rounds: int
) -> None:
    counts = gradual(total, density, rounds)
    kept = kept_count(density, total)
    assert len(counts) == rounds
    assert counts[-1] == kept
    assert counts == sorted(counts, reverse=True)
    final = 1 - Fraction(kept, total)
    for done, count in enumerate(counts, 1):
        sparsity = final + (0 - final) * (1 - Fraction(done, rounds)) ** 3
        assert count == math.floor((1 - sparsity) * total)


def test_the_gradual_schedule_removes_most_in_its_first_rounds() -> None:
    counts = gradual(1000, 0.1, 10)
    removed = [a - b for a, b in zip([1000, *counts], counts, strict=False)]
    assert removed == sorted(removed, reverse=True)


@given(total=totals, density=densities)
def test_one_shot_is_one_round_to_the_floor(total: int, density: float) -> None:
    assert one_shot(total, density) == gradual(total, density, 1) == [kept_count(density, total)]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: one_shot(0, 0.5), ValueError, "expected a total of at least 1, got 0"),
        (lambda: one_shot(10, 0), ValueError, "expected a density with 0 < density <= 1, got 0"),
        (lambda: iterative(1.5, rounds=1), TypeError, r"expected a total as an integer, got 1\.5"),
        (lambda: iterative(10), ValueError, "expected rounds or a density, got None and None"),
        (
            lambda: iterative(10, rounds=1, density=0.5),
            ValueError,
            r"expected rounds or a density, got 1 and 0\.5",
        ),
        (lambda: iterative(10, rounds=0), ValueError, "expected at least 1 round, got 0"),
        (lambda: iterative(10, rounds=1.0), TypeError, r"expected rounds as an integer, got 1\.0"),
        (
            lambda: iterative(10, rounds=1, fraction=1),
            ValueError,
            "expected a fraction with 0 < fraction < 1, got 1",
        ),
        (lambda: gradual(10, 0.5, 0), ValueError, "expected at least 1 round, got 0"),
        (lambda: gradual(10, 2, 1), ValueError, "expected a density with 0 < density <= 1, got 2"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(
    call: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()  # type: ignore[operator]
