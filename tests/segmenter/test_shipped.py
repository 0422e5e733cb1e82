"""The segmenter that the package brings: small, sparse, and of use on a hand that it never saw."""

from __future__ import annotations

import warnings

import pytest
import torch

from sparse_ovs import Segmenter, create_segmenter
from sparse_ovs.data.emoji import CONCEPTS, GROUNDS, EmojiScenes
from sparse_ovs.segmenter.shipped import DEMO, demo_scene, demo_scenes, shipped


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that of random weights
        return Segmenter.from_pretrained(DEMO)


def test_it_takes_less_than_6_mb() -> None:
    path = shipped(DEMO)
    assert path is not None
    assert path.stat().st_size < 6e6


def test_nine_tenths_of_its_encoder_are_zero(segmenter: Segmenter) -> None:
    weights = [segmenter.backbone.get_submodule(n).weight for n in segmenter.backbone.scope()]
    kept = sum(int((weight != 0).sum()) for weight in weights)
    assert kept / sum(weight.numel() for weight in weights) == pytest.approx(0.1, abs=0.002)


def test_its_head_is_the_default_of_its_file() -> None:
    assert create_segmenter(checkpoint=DEMO).head.name == "maskformer"


def test_names_of_nothing_are_not_shipped() -> None:
    assert shipped("emoji") is None
    assert shipped("../segmenter/models/emoji-maskformer") is None


def test_the_demo_scenes_are_asked_for_what_is_there_and_for_more() -> None:
    scenes = demo_scenes()
    known = {*GROUNDS, *(concept.name for concept in CONCEPTS)}
    assert len({picture.tobytes() for picture, _ in scenes}) == len(scenes) == 16
    for picture, words in scenes:
        asked = words.split("; ")
        assert picture.size == (256, 256)
        assert len(asked) == len(set(asked)) >= 4
        assert set(asked) <= known


def test_it_finds_most_of_what_the_demo_scene_shows(segmenter: Segmenter) -> None:
    picture, words = demo_scene()
    ground, *things = words.split("; ")
    there, absent = {ground, *things[:-3]}, set(things[-3:])
    found = {s.label: s.area for s in segmenter.predict(picture, words).segments}
    assert len(there & found.keys()) >= 4
    wrong = sum(area for label, area in found.items() if label in absent)
    assert wrong < 0.1 * 256 * 256


def test_it_was_taught_the_seen_classes_alone(segmenter: Segmenter) -> None:
    seen = {name for k, name in enumerate(EmojiScenes.classes) if k not in EmojiScenes.unseen}
    assert set(segmenter.head.seen) == seen


def test_its_plan_agrees_with_torch(segmenter: Segmenter) -> None:
    picture, words = demo_scene()
    fast = Segmenter.from_pretrained(DEMO, fast=True)
    ours, dense = (each.predict(picture, words).scores for each in (fast, segmenter))
    torch.testing.assert_close(ours, dense, rtol=1e-3, atol=1e-4)
