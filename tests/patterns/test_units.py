"""Units of a pattern: their grid, sizes and sums, and what a mask keeps of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.patterns import parse_pattern
from sparse_ovs.patterns.layout import flatten_tap_major, unflatten_tap_major
from sparse_ovs.patterns.units import (
    expand_units,
    kept_units,
    largest_in_groups,
    unit_grid,
    unit_sizes,
    unit_sums,
)

shapes = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
)
patterns = st.sampled_from(["unstructured", "block4x1", "block2x3", "channel"]).map(parse_pattern)


@given(shape=shapes, pattern=patterns)
def test_the_sizes_of_all_units_are_sums_of_ones_and_add_up_to_the_weight(
    shape: tuple[int, ...], pattern: object
) -> None:
    sizes = unit_sizes(shape, pattern)  # type: ignore[arg-type]
    ones = flatten_tap_major(torch.ones(shape, dtype=torch.int64))
    assert tuple(sizes.shape) == unit_grid(shape, pattern)  # type: ignore[arg-type]
    assert torch.equal(sizes, unit_sums(ones, pattern))  # type: ignore[arg-type]
    assert int(sizes.sum()) == ones.numel()


@given(shape=shapes, pattern=patterns, seed=st.integers(0, 99))
def test_the_units_of_an_expanded_choice_are_the_choice(
    shape: tuple[int, ...], pattern: object, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    kept = torch.rand(unit_grid(shape, pattern), generator=random) < 0.5  # type: ignore[arg-type]
    mask = unflatten_tap_major(expand_units(kept, pattern, shape), shape)  # type: ignore[arg-type]
    assert torch.equal(kept_units(mask, pattern), kept)  # type: ignore[arg-type]


def test_a_mask_that_keeps_a_part_of_a_block_is_refused() -> None:
    mask = torch.tensor([[True], [True], [True], [False]])
    with pytest.raises(ValueError, match="expected a mask of whole units of pattern 'block4x1'"):
        kept_units(mask, parse_pattern("block4x1"))


def test_groups_of_m_have_no_units_to_count() -> None:
    with pytest.raises(ValueError, match="expected a pattern of whole units, got '2:4', which"):
        unit_grid((4, 4), parse_pattern("2:4"))


def test_every_group_keeps_as_many_as_it_is_asked_to() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0, 5.0, 4.0], [0.0, 0.0, 0.0, -1.0, 0.0]])
    counts = torch.tensor([[1, 2], [2, 1]])
    assert largest_in_groups(scores, 3, counts).tolist() == [
        [False, True, False, True, True],
        [True, True, False, False, True],
    ]
