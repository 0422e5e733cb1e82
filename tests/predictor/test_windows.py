"""Sliding windows: they cover the image, overlap, and merge to means."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.predictor.windows import merge_windows, window_starts, windows


@given(st.integers(1, 80), st.integers(1, 40), st.sampled_from([1, 8, 32]), st.floats(0, 0.9))
def test_windows_cover_a_side_from_end_to_end(
    cells: int, window: int, unit: int, overlap: float
) -> None:
    length, window = cells * unit, window * unit
    starts = window_starts(length, window, unit, overlap)
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert max(starts) + window >= length
    assert len(starts) == 1 or starts[-1] + window == length
    assert all(start % unit == 0 for start in starts)
    assert all(b - a <= window for a, b in itertools.pairwise(starts))


def test_neighbours_share_what_they_should() -> None:
    assert window_starts(2048, 1024, 32, 0.25) == [0, 512, 1024]
    assert window_starts(1056, 1024, 32, 0.25) == [0, 32]
    assert window_starts(1024, 1024, 32, 0.25) == [0]


def test_without_windows_the_image_is_one() -> None:
    assert windows(70, 90, None, 32, 0.5) == [(slice(0, 70), slice(0, 90))]


@pytest.mark.parametrize("cell", [4, 32])
def test_overlaps_are_means_and_the_rest_is_as_it_was(cell: int) -> None:
    whole = torch.randn(3, 128 // cell, 192 // cell)
    places = windows(128, 192, 96, 32, 0.5)
    assert len(places) == 8
    parts = []
    for index, (rows, columns) in enumerate(places):
        scores = whole[
            :, rows.start // cell : rows.stop // cell, columns.start // cell : columns.stop // cell
        ]
        parts.append(((rows, columns), scores + (1 if index == 0 else 0)))
    merged = merge_windows(parts, 128, 192)
    corner = merged[:, : 32 // cell, : 32 // cell]  # which the first window alone sees
    torch.testing.assert_close(corner, whole[:, : 32 // cell, : 32 // cell] + 1)
    last = merged[:, -32 // cell :, -32 // cell :]
    torch.testing.assert_close(last, whole[:, -32 // cell :, -32 // cell :])
    # Two windows see what lies below the corner: one of them says 1 more.
    shared = merged[:, 32 // cell : 96 // cell, : 32 // cell]
    torch.testing.assert_close(shared, whole[:, 32 // cell : 96 // cell, : 32 // cell] + 0.5)
