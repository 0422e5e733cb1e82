"""Scenes of emoji: the same each time, labelled exactly, hands and concepts held out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from torch.utils.data import DataLoader

from sparse_ovs.data import open_dataset
from sparse_ovs.data.emoji import CONCEPTS, GROUNDS, HANDS, VENDORS, EmojiScenes
from support.made_emoji import put_sprites

SOME = 40


@pytest.fixture(autouse=True)
def sprites(monkeypatch: pytest.MonkeyPatch) -> None:
    put_sprites(monkeypatch)


def shown(split: str) -> set[int]:
    scenes = EmojiScenes(split, size=48, count=SOME)
    return {place for index in range(SOME) for place in scenes.scene(index).concepts}


def test_a_scene_depends_on_seed_split_index_and_size_only() -> None:
    first, again = EmojiScenes(count=10), EmojiScenes(count=500)
    for index in (9, 3, 3):
        np.testing.assert_array_equal(first.scene(index).pixels, again.scene(index).pixels)
        np.testing.assert_array_equal(first[index].labels, again[index].labels)
    other = EmojiScenes(count=10, seed=1)
    assert not np.array_equal(first.scene(3).pixels, other.scene(3).pixels)


def test_heads_learn_seen_concepts_alone_and_are_judged_on_both() -> None:
    roles = {split: {CONCEPTS[place].role for place in shown(split)} for split in HANDS}
    assert roles.pop("train") == {"seen"}
    assert all(found == {"seen", "unseen"} for found in roles.values())


def test_scenes_that_are_judged_mix_seen_and_unseen_concepts() -> None:
    scenes = EmojiScenes("val", size=48, count=SOME)
    kinds = [{CONCEPTS[p].role for p in scenes.scene(i).concepts} for i in range(SOME)]
    assert {"seen", "unseen"} in kinds


def test_no_two_splits_share_a_vendor_and_training_takes_none_that_shares_alike() -> None:
    for one, other in combinations(HANDS.values(), 2):
        assert not set(one) & set(other)
    ships = {vendor.name: vendor.ships for vendor in VENDORS}
    assert all(ships[name] for name in HANDS["train"])
    assert set(ships) == {name for hands in HANDS.values() for name in hands}


def test_labels_are_the_classes_of_what_is_there() -> None:
    scenes = EmojiScenes("val", size=64, count=SOME)
    for index in range(SOME):
        scene, sample = scenes.scene(index), scenes[index]
        assert sample.labels.dtype == np.int32
        assert sample.image.size == (64, 64)
        ground = list(GROUNDS)[scene.ground]
        names = [*(CONCEPTS[place].name for place in scene.concepts), ground]
        expected = {scenes.classes.index(names[owner]) for owner in np.unique(scene.owners)}
        assert set(np.unique(sample.labels)) == expected


def test_a_class_s_pixels_have_its_concept_s_owner() -> None:
    scenes = EmojiScenes("val", size=64, count=SOME)
    scene, labels = scenes.scene(0), scenes[0].labels
    for place, concept in enumerate(scene.concepts):
        wanted = scenes.classes.index(CONCEPTS[concept].name)
        np.testing.assert_array_equal(labels == wanted, scene.owners == place)


def test_unseen_classes_are_those_of_unseen_concepts() -> None:
    names = {concept.name for concept in CONCEPTS if concept.role == "unseen"}
    assert {EmojiScenes.classes[k] for k in EmojiScenes.unseen} == names
    assert len(EmojiScenes.classes) == 108


def test_one_to_four_things_lie_in_a_scene_and_none_twice() -> None:
    scenes = EmojiScenes(size=48, count=SOME)
    found = [scenes.scene(index).concepts for index in range(SOME)]
    assert {len(concepts) for concepts in found} == {1, 2, 3, 4}
    assert all(len(set(concepts)) == len(concepts) for concepts in found)


def test_workers_of_a_loader_make_the_same_scenes() -> None:
    scenes = EmojiScenes(size=32, count=4)
    alone = [scenes[index].labels for index in range(4)]
    loader = DataLoader(scenes, batch_size=None, num_workers=2)
    for expected, sample in zip(alone, loader, strict=True):
        np.testing.assert_array_equal(expected, sample.labels)


def test_it_is_opened_by_name() -> None:
    dataset = open_dataset("emoji", split="val-hard", size=40, count=3)
    assert len(dataset) == 3
    assert dataset.name_of(2) == "val-hard-000002"
    with pytest.raises(ValueError, match="expected emoji without other names"):
        open_dataset("emoji", names="names.txt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test"}, "expected split train, tune, val, val-hard, got 'test'"),
        ({"size": 16}, "expected size >= 32 pixels, got 16"),
        ({"count": 0}, "expected count >= 1 and seed >= 0, got 0 and 0"),
        ({"seed": -1}, "expected count >= 1 and seed >= 0, got 1000 and -1"),
    ],
)
def test_arguments_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EmojiScenes(**options)  # type: ignore[arg-type]


def test_an_index_out_of_range_is_refused() -> None:
    with pytest.raises(IndexError, match="expected 0 <= index < 2, got 2"):
        EmojiScenes(count=2)[2]
