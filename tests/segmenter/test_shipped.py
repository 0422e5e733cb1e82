"""The segmenter that the package brings: small, sparse, and of use on what it never saw."""

from __future__ import annotations

import warnings

import pytest
import torch

from sparse_ovs import Segmenter, create_segmenter
from sparse_ovs.data import Scenes
from sparse_ovs.data.scenes import UNSEEN
from sparse_ovs.evaluation import evaluate
from sparse_ovs.segmenter.shipped import DEMO, demo_scene, shipped


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that of random weights
        return Segmenter.from_pretrained(DEMO)


def test_it_takes_less_than_5_mb() -> None:
    path = shipped(DEMO)
    assert path is not None
    assert path.stat().st_size < 5e6


def test_nine_tenths_of_its_encoder_are_zero(segmenter: Segmenter) -> None:
    weights = [segmenter.backbone.get_submodule(n).weight for n in segmenter.backbone.scope()]
    kept = sum(int((weight != 0).sum()) for weight in weights)
    assert kept / sum(weight.numel() for weight in weights) == pytest.approx(0.1, abs=0.002)


def test_its_head_is_the_default_of_its_file() -> None:
    assert create_segmenter(checkpoint=DEMO).head.name == "maskformer"


def test_names_of_nothing_are_not_shipped() -> None:
    assert shipped("scenes") is None
    assert shipped("../segmenter/models/scenes-maskformer") is None


def test_the_demo_shows_compositions_that_no_training_shows() -> None:
    _, words = demo_scene()
    asked = words.split("; ")
    assert {Scenes.classes[k] for k in UNSEEN} & set(asked)
    assert len(asked) == len(set(asked)) >= 3


def test_the_demo_scenes_differ() -> None:
    first, second = demo_scene()[0], demo_scene(1)[0]
    assert first.tobytes() != second.tobytes()


def test_it_finds_what_it_never_saw_and_its_plan_agrees(segmenter: Segmenter) -> None:
    seen = [k for k in range(len(Scenes.classes)) if k not in UNSEEN]
    dataset = Scenes("val-unseen", count=12)
    found = evaluate(segmenter, dataset, seen=seen).scores.unseen
    assert found is not None
    assert found > 0.05  # chance is 0.003
    fast = Segmenter.from_pretrained(DEMO, fast=True).set_vocabulary(dataset.vocabulary)
    ours, dense = (each.predict(dataset[0].image).scores for each in (fast, segmenter))
    torch.testing.assert_close(ours, dense, rtol=1e-3, atol=1e-4)
