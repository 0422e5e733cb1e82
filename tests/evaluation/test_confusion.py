"""Confusion counts: exact, whatever the size, with pixels that do not count."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.evaluation import Confusion, confusion


def _slowly(classes: int, predicted: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Pixel by pixel."""
    counts = np.zeros((classes + 1, classes), np.int64)
    for p, g in zip(predicted.flat, labels.flat, strict=True):
        if g >= 0:
            counts[p if p >= 0 else classes, g] += 1
    return counts


@given(st.integers(1, 9), st.integers(0, 99), st.integers(1, 40))
def test_every_labelled_pixel_counts_once(classes: int, seed: int, pixels: int) -> None:
    random = np.random.default_rng(seed)
    predicted, labels = random.integers(-1, classes, (2, pixels, 3))
    made = Confusion.empty(classes)
    made.add(predicted, labels)
    assert np.array_equal(made.counts, _slowly(classes, predicted, labels))
    assert made.counts.sum() == (labels >= 0).sum()


def test_images_add_up() -> None:
    made = Confusion.empty(2)
    made.add(np.array([[0, 1]]), np.array([[0, 0]]))
    made.add(np.array([[1], [1]]), np.array([[1], [-1]]))
    assert made.counts.tolist() == [[1, 0], [1, 1], [0, 0]]


def test_a_prediction_of_no_class_is_a_row_of_its_own() -> None:
    made = Confusion.empty(2)
    made.add(np.array([[-1, -1]]), np.array([[1, -1]]))
    assert made.counts.tolist() == [[0, 0], [0, 0], [0, 1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_small_integers_do_not_overflow(dtype: type) -> None:
    """847 classes: the place of a count is beyond 16 bits."""
    classes = 200 if dtype is np.uint8 else 847
    made = Confusion.empty(classes)
    last = np.full((2, 2), classes - 1, dtype)
    made.add(last, last)
    assert made.counts[classes - 1, classes - 1] == 4


def test_chunks_of_pixels_give_the_same_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    predicted, labels = random.integers(-1, 5, (2, 17, 13))
    whole = Confusion.empty(5)
    whole.add(predicted, labels)
    monkeypatch.setattr(confusion, "_PIXELS", 10)
    parts = Confusion.empty(5)
    parts.add(predicted, labels)
    assert np.array_equal(whole.counts, parts.counts)


def test_847_classes_at_full_size_need_little_memory() -> None:
    """A 3000 x 4000 photo of ADE20K; its scores would be 40 GB."""
    random = np.random.default_rng(2)
    labels = random.integers(-1, 847, (3000, 4000), np.int32)
    predicted = labels.astype(np.int64)
    tracemalloc.start()
    made = Confusion.empty(847)
    made.add(predicted, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made.counts.trace() == (labels >= 0).sum()
    assert peak < 64 * 2**20


@pytest.mark.parametrize(
    ("predicted", "labels", "message"),
    [
        ([[0, 1]], [[0], [1]], r"expected a prediction of the labels' size \(2, 1\), got \(1, 2\)"),
        ([[3]], [[0]], "expected predictions from -1 to 2, got 3 to 3"),
        ([[-2]], [[0]], "expected predictions from -1 to 2, got -2 to -2"),
        ([[0]], [[255]], "expected labels from -1 to 2, got 255 to 255"),
        ([[0]], [[65535]], "expected labels from -1 to 2, got 65535"),
    ],
)
def test_what_is_no_class_is_refused_and_nothing_counted(
    predicted: list[list[int]], labels: list[list[int]], message: str
) -> None:
    made = Confusion.empty(3)
    with pytest.raises(ValueError, match=message):
        made.add(np.array(predicted), np.array(labels))
    assert not made.counts.any()


@pytest.mark.parametrize(
    "counts",
    [
        np.zeros((2, 2), np.int64),
        np.zeros((3, 2), np.int32),
        np.zeros(3, np.int64),
        np.array([[1], [-1]]),
    ],
)
def test_counts_of_another_kind_are_refused(counts: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected "):
        Confusion(counts)
