"""Segmenters with mask heads: results, files, and other dtypes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

import sparse_ovs
from sparse_ovs.segmenter import Segmenter, files
from support.small_clips import small_backbone
from support.small_mask_heads import HEADS

PHOTO = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
WORDS = "cat, kitten; dog; grass"


def make(name: str) -> Segmenter:
    backbone = small_backbone(density=0.3)
    backbone.clip.random_parts = ()
    torch.manual_seed(3)
    segmenter = sparse_ovs.create_segmenter(name, backbone, size=64, head_sizes="small")
    segmenter.head.untrained = False
    segmenter.head.seen = ("dog",)
    return segmenter


@pytest.fixture(params=HEADS)
def made(request: pytest.FixtureRequest) -> Segmenter:
    with pytest.warns(sparse_ovs.segmenter.RandomWeightsWarning, match="head"):
        return make(request.param)


def test_a_segmenter_comes_back_as_it_was(made: Segmenter, tmp_path: Path) -> None:
    made.save_pretrained(tmp_path)
    back = Segmenter.from_pretrained(tmp_path)
    assert back.head.sizes == made.head.sizes
    assert back.head.seen == ("dog",)
    expected, found = made.predict(PHOTO, WORDS), back.predict(PHOTO, WORDS)
    assert torch.equal(found.sem_seg, expected.sem_seg)
    torch.testing.assert_close(found.scores, expected.scores)


def test_nothing_is_stored_twice(made: Segmenter, tmp_path: Path) -> None:
    made.save_pretrained(tmp_path)
    with safetensors.safe_open(tmp_path / files.FILE_NAME, "pt") as file:
        heads = {name for name in file.keys() if name.startswith("head.")}  # noqa: SIM118
    assert heads == {f"head.{name}" for name, _ in made.head.named_parameters()}


def test_another_dtype_takes_the_whole_segmenter_along(made: Segmenter) -> None:
    before = made.predict(PHOTO, WORDS).scores
    after = made.double().predict(PHOTO).scores
    torch.testing.assert_close(after.float(), before, rtol=1e-2, atol=1e-2)


def test_masks_give_panoptic_and_instance_results(made: Segmenter) -> None:
    panoptic = made.predict_panoptic(PHOTO, WORDS, things=["cat", "dog"])
    assert panoptic.ids.shape == (64, 96)
    assert {segment.id for segment in panoptic.segments} == set(panoptic.ids.unique().tolist()) - {
        0
    }
    found = made.predict_instances(PHOTO, WORDS, things=["cat"])
    assert found.instances
    assert all(one.label == "cat" and one.mask.shape == (64, 96) for one in found.instances)
