"""Spellings of patterns, and what a density may be."""

import pytest

from sparse_ovs.patterns import check_density, kept_count, parse_pattern


@pytest.mark.parametrize(
    "text", ["unstructured", "channel", "block4x1", "block16x32", "2:4", "1:8"]
)
def test_a_pattern_spells_itself_as_it_was_spelled(text: str) -> None:
    assert str(parse_pattern(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "dense", "block", "block0x1", "block4", "4x1", "4:2", "0:4", "2:", "Block4x1", None, 3],
)
def test_any_other_spelling_is_refused_with_the_ones_that_exist(text: object) -> None:
    with pytest.raises(ValueError, match=r"expected pattern 'unstructured', .* got "):
        parse_pattern(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("density", [0, -1, 1.5, 0.0, float("nan"), float("inf")])
def test_a_density_outside_its_range_is_refused(density: float) -> None:
    with pytest.raises(ValueError, match="expected a density with 0 < density <= 1, got "):
        check_density(density)


@pytest.mark.parametrize("density", [True, "0.1", None])
def test_a_density_that_is_no_number_is_refused(density: object) -> None:
    with pytest.raises(TypeError, match="expected a density as a number, got "):
        check_density(density)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("density", "total", "kept"),
    [(0.1, 30, 3), (0.29, 100, 29), (0.1, 9, 0), (1.0, 7, 7), (0.7, 10, 7), (0.3, 10, 3)],
)
def test_the_kept_count_is_the_floor_of_the_decimal_that_was_written(
    density: float, total: int, kept: int
) -> None:
    assert kept_count(density, total) == kept
