"""Results as pictures and dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sparse_ovs.predictor.palette import colours
from sparse_ovs.segmenter import Result
from sparse_ovs.segmenter.result import find_segments
from sparse_ovs.text import Vocabulary

LABELS = torch.tensor([[0, 0, 2, 2, 2], [0, -1, -1, 2, 2]])
CONFIDENCE = torch.tensor([[0.5, 0.6, 1.0, 1.0, 1.0], [0.7, 0.1, 0.1, 0.5, 0.5]])


def make(classes: int = 3, labels: torch.Tensor = LABELS) -> Result:
    words = Vocabulary(tuple((f"thing {i}", f"other {i}") for i in range(classes)))
    segments = find_segments(labels, CONFIDENCE, words)
    image = Image.new("RGB", (labels.shape[1], labels.shape[0]), (10, 20, 30))
    return Result(labels, None, segments, words, image)


def test_segments_have_their_mean_score_and_come_largest_first() -> None:
    first, second = make().segments
    assert (first.label, first.index, first.area) == ("thing 2", 2, 5)
    assert first.score == pytest.approx(0.8)
    assert (second.label, second.index, second.area) == ("thing 0", 0, 3)
    assert second.score == pytest.approx(0.6)


def test_dictionaries_are_those_of_hugging_face() -> None:
    first, second = make().as_dicts()
    assert list(first) == ["score", "label", "mask"]
    assert first["label"] == "thing 2"
    assert isinstance(first["score"], float)
    assert (first["mask"].mode, first["mask"].size) == ("L", (5, 2))
    np.testing.assert_array_equal(np.asarray(second["mask"]), (LABELS == 0).numpy() * 255)


def test_labels_are_saved_as_numbers_with_255_for_the_background() -> None:
    picture = make().to_pil()
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), LABELS.numpy() % 256)
    shown = np.asarray(picture.convert("RGB"))
    assert shown[0, 0].tolist() == colours(3)[0].tolist()
    assert shown[1, 1].tolist() == [0, 0, 0]


def test_many_classes_are_saved_in_16_bits() -> None:
    labels = torch.tensor([[299, 3], [-1, 255]])
    words = Vocabulary(tuple((str(i),) for i in range(300)))
    result = Result(labels, None, (), words, Image.new("RGB", (2, 2)))
    picture = result.to_pil()
    assert picture.mode == "I;16"
    assert np.asarray(picture).tolist() == [[299, 3], [65535, 255]]


def test_the_overlay_mixes_colours_in_and_shows_the_background() -> None:
    shown = np.asarray(make().overlay(0.5, legend=False)).astype(int)
    assert shown[1, 1].tolist() == [10, 20, 30]
    mixed = (colours(3)[2].astype(int) + np.array([10, 20, 30])) / 2
    assert np.abs(shown[0, 4] - mixed).max() <= 1
    bare = np.asarray(make().overlay(0, legend=False))
    np.testing.assert_array_equal(bare, np.asarray(make().image))


def test_the_legend_has_a_line_for_each_class_that_was_found() -> None:
    result = make()
    plain, legend = result.overlay(legend=False), result.overlay()
    assert legend.width >= plain.width
    below = np.asarray(legend)[plain.height :].reshape(-1, 3).tolist()
    for index, found in enumerate([True, False, True]):
        assert (colours(3)[index].tolist() in below) is found


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_an_alpha_out_of_range_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="expected an alpha from 0 to 1, got"):
        make().overlay(alpha)


def test_colours_of_many_classes_differ() -> None:
    assert len({tuple(colour) for colour in colours(847).tolist()}) > 800
    first = colours(20).astype(int)
    distances = np.abs(first[:, None] - first[None]).sum(2) + 1000 * np.eye(20, dtype=int)
    assert distances.min() > 30
    np.testing.assert_array_equal(colours(20), colours(847)[:20])
