"""Errors of maps: the worst of them counts, what cannot be compared is infinite."""

from __future__ import annotations

import numpy as np
import pytest

from sparse_ovs.profiling.errors import map_errors


def test_each_figure_is_of_the_worst_map() -> None:
    exact = np.float32([3.0, 4.0])
    errors = map_errors([exact, np.float32([4.0, 3.0])], [exact, exact])
    assert errors.largest == pytest.approx(1 / 4)
    assert errors.relative == pytest.approx(2**0.5 / 5)
    assert errors.cosine == pytest.approx(24 / 25)
    assert str(errors) == "relative error 2.8e-01, cosine 0.9600"


def test_equal_maps_have_no_error() -> None:
    maps = [np.ones((1, 2, 3), np.float32)]
    errors = map_errors(maps, maps)
    assert (errors.largest, errors.relative) == (0, 0)
    assert errors.cosine == pytest.approx(1)


@pytest.mark.parametrize("ours", [[], [np.ones(3)], [np.ones(2), np.ones(2)]])
def test_other_maps_are_infinitely_far(ours: list[np.ndarray]) -> None:
    errors = map_errors(ours, [np.ones(2)])
    assert (errors.largest, errors.relative, errors.cosine) == (float("inf"), float("inf"), 0)


def test_a_value_that_is_none_shows(recwarn: pytest.WarningsRecorder) -> None:
    errors = map_errors([np.ones(2), np.array([1, np.nan])], [np.ones(2), np.ones(2)])
    assert np.isnan([errors.largest, errors.relative, errors.cosine]).all()
    assert not map_errors([np.zeros(2)], [np.zeros(2)]).relative <= 0.1
    assert not recwarn.list
