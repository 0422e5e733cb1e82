"""Crops: image and labels stay together, whatever the scale; captions become classes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image

from sparse_ovs.data import Scenes
from sparse_ovs.data.dataset import IGNORE, Sample, SegmentationDataset
from sparse_ovs.training.crops import NO_WORD, Crops, CropSettings, named_classes


class Gradient(SegmentationDataset):
    """One image whose red tells its label: both rise from left to right."""

    name = "gradient"
    classes = ("a", "b")

    def __init__(self, width: int = 64, height: int = 48) -> None:
        labels = np.tile(np.arange(width, dtype=np.int32), (height, 1))
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[..., 0] = labels * 4 // (width // 64)
        self._sample = Sample("one", Image.fromarray(pixels), labels)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return self._sample


def test_labels_stay_under_their_pixels() -> None:
    random.seed(1)
    crops = Crops(Gradient(), CropSettings(32, 0.8, 2.0, flip=True))
    for _ in range(20):
        item = crops[0]
        known = item["labels"] != IGNORE
        assert known.any()
        red = item["image"][0].float()[known]
        assert (red - 4 * item["labels"][known]).abs().max() <= 8


def test_an_image_smaller_than_the_crop_is_painted_around_and_ignored_there() -> None:
    random.seed(1)
    item = Crops(Gradient(), CropSettings(64, 0.5, 0.5, paint=(9, 8, 7)))[0]
    known = item["labels"] != IGNORE
    assert known.sum() == 32 * 43
    outside = item["image"].permute(1, 2, 0)[~known]
    assert torch.equal(outside, torch.tensor([9, 8, 7], dtype=torch.uint8).expand_as(outside))


def test_at_its_own_size_an_image_stays_as_it_is() -> None:
    scene = Scenes("train", 64, 3).scene(2)
    item = Crops(Scenes("train", 64, 3), CropSettings(64))[2]
    assert np.array_equal(item["image"].permute(1, 2, 0).numpy(), scene.pixels)
    assert np.array_equal(item["labels"].numpy(), scene.labels)


def test_words_are_the_classes_that_a_caption_names() -> None:
    scenes = Scenes("train", 64, 5)
    random.seed(0)
    crops = Crops(scenes, CropSettings(64, words=8))
    for index in range(5):
        scene = scenes.scene(index)
        words = crops[index]["words"]
        named = {scenes.classes[k] for k in words.tolist() if k != NO_WORD}
        assert named == {scene.ground, *map(str, scene.objects)}


def test_words_beyond_the_most_are_left_out_and_missing_ones_filled() -> None:
    random.seed(0)
    assert len(Crops(Scenes("train", 64, 5), CropSettings(64, words=2))[0]["words"]) == 2
    gone = Crops(Scenes("train", 64, 5), CropSettings(64, words=3, dropped=1.0))[0]["words"]
    assert gone.tolist() == [NO_WORD] * 3


def test_a_name_is_found_as_whole_words_alone() -> None:
    assert named_classes("A Cat, on grassland", ("cat, kitten", "grass", "at", "dog")) == [0]


def test_words_of_a_dataset_without_captions_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a dataset with captions for words, got gradi"):
        Crops(Gradient(), CropSettings(32, words=1))
