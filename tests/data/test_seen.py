"""Classes that training never shows are not among those that a head chooses from."""

from __future__ import annotations

import numpy as np

from sparse_ovs.data import Scenes
from sparse_ovs.data.dataset import IGNORE
from sparse_ovs.data.scenes import UNSEEN
from sparse_ovs.data.seen import only_seen


def test_seen_classes_keep_their_names_and_pixels() -> None:
    scenes = Scenes("train", 32, 20)
    dataset = only_seen(scenes)
    assert not {scenes.classes[k] for k in UNSEEN} & set(dataset.classes)
    assert len(dataset.classes) == len(scenes.classes) - len(UNSEEN)
    for whole, sample in zip(scenes, dataset, strict=True):
        assert sample.name == whole.name
        assert sample.image.tobytes() == whole.image.tobytes()
        names = np.array(dataset.classes)[sample.labels]
        np.testing.assert_array_equal(names, np.array(scenes.classes)[whole.labels])


def test_pixels_of_unseen_classes_are_ignored() -> None:
    scenes = Scenes("val-unseen", 32, 20)
    dataset = only_seen(scenes)
    for index in range(len(scenes)):
        ignored = np.isin(scenes[index].labels, [*UNSEEN, IGNORE])
        np.testing.assert_array_equal(dataset[index].labels == IGNORE, ignored)
        np.testing.assert_array_equal(dataset.inspect(index).labels == IGNORE, ignored)


def test_captions_stay() -> None:
    scenes = Scenes("train", 32, 3)
    assert only_seen(scenes).caption(1) == scenes.caption(1)  # type: ignore[attr-defined]


def test_a_dataset_that_shows_all_its_classes_is_itself() -> None:
    class Shown(Scenes):
        unseen = frozenset()

    dataset = Shown("train", 32, 2)
    assert only_seen(dataset) is dataset
