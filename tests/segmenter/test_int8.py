"""Segmenters in int8: scales from what the encoder sees, kept in files, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sparse_ovs
from sparse_ovs.segmenter import Segmenter
from support.small_clips import DEEP_RN, RN, small_backbone

WORDS = "cat, kitten; dog; sky"
NOISE = np.random.default_rng(0)
PHOTO = NOISE.integers(0, 255, (100, 150, 3), np.uint8)
UPRIGHT = NOISE.integers(0, 255, (150, 100, 3), np.uint8)
INT8: dict[str, Any] = {"fast": True, "precision": "int8"}


def make(name: str = RN, **options: Any) -> Segmenter:
    backbone = small_backbone(name, density=0.5)
    backbone.clip.random_parts = ()
    made = sparse_ovs.create_segmenter("maskclip", backbone, **{"size": 64, **options})
    return made.set_vocabulary(WORDS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number, photo in enumerate((PHOTO, UPRIGHT)):
        Image.fromarray(photo).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def test_scores_in_int8_are_near_those_in_fp32() -> None:
    scores = make(**INT8, calibrate=[PHOTO]).predict(PHOTO).scores
    assert float((scores - make().predict(PHOTO).scores).abs().max()) < 0.02


def test_the_encoder_is_the_compiled_one_of_the_same_scales() -> None:
    segmenter = make(**INT8, calibrate=[PHOTO])
    x = segmenter.to_input(Image.fromarray(PHOTO))
    fast = sparse_ovs.compile(
        segmenter.backbone, x, precision="int8", quantization=segmenter.quantization
    )
    for ours, theirs in zip(segmenter.encode(x), fast(x), strict=True):
        assert torch.equal(ours, theirs)


def test_scales_come_from_images_as_the_segmenter_prepares_them() -> None:
    segmenter = make(**INT8, calibrate=[PHOTO, UPRIGHT], window=64)
    x = segmenter.to_input(Image.fromarray(PHOTO))
    y = segmenter.to_input(Image.fromarray(UPRIGHT))
    assert x.shape == (1, 3, 64, 96)
    q = segmenter.quantization
    assert q is not None
    assert q.provenance["images"] == 4  # two windows of each
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    assert q.values["input"].scale == pytest.approx(float(high - low) / 255)


def test_folders_lists_and_batches_of_images_give_the_same_scales(folder: Path) -> None:
    segmenter = make(fast=True)
    batches = [torch.from_numpy(PHOTO).permute(2, 0, 1)[None], UPRIGHT[None]]
    paths = [folder / "0.png", Image.open(folder / "1.png")]
    found = [segmenter.calibrate(each).quantization for each in (folder, batches, iter(paths))]
    assert found[0] is not None
    for each in found[1:]:
        assert each is not None
        assert each.values == found[0].values


def test_a_quantization_made_before_is_taken_as_it_is() -> None:
    q = make(fast=True).calibrate([PHOTO], percentile=99.9, exclude=["layer4.*"]).quantization
    assert q is not None
    assert q.provenance["percentile"] == 99.9
    assert "layer4.0.conv1" in q.excluded
    assert make(**INT8, calibrate=q).quantization is q


def test_calibrating_drops_the_plan() -> None:
    segmenter = make(fast=True)
    exact = segmenter.predict(PHOTO).scores
    segmenter.calibrate([PHOTO])
    assert not torch.equal(segmenter.predict(PHOTO).scores, exact)


def test_files_keep_the_scales(tmp_path: Path) -> None:
    made = make(**INT8, calibrate=[PHOTO])
    made.save_pretrained(tmp_path)
    expected = made.predict(PHOTO).scores
    for back in (
        Segmenter.from_pretrained(tmp_path, **INT8),
        sparse_ovs.create_segmenter(checkpoint=tmp_path, **INT8),
    ):
        assert torch.equal(back.predict(PHOTO, WORDS).scores, expected)
    assert Segmenter.from_pretrained(tmp_path).quantization is None


def test_images_come_before_the_scales_of_a_file(tmp_path: Path) -> None:
    make(**INT8, calibrate=[PHOTO]).save_pretrained(tmp_path)
    for back in (
        Segmenter.from_pretrained(tmp_path, **INT8, calibrate=[PHOTO, UPRIGHT]),
        sparse_ovs.create_segmenter(checkpoint=tmp_path, **INT8, calibrate=[PHOTO, UPRIGHT]),
    ):
        assert back.quantization is not None
        assert back.quantization.provenance["images"] == 2


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"fast": True, "precision": "int4"}, "expected a precision of fp32, int8, got 'int4'"),
        (INT8, "expected calibrate with precision='int8': a folder of images, images, or a quan"),
        ({"precision": "int8", "calibrate": [PHOTO]}, "expected fast=True with precision='int8'"),
        ({"fast": True, "calibrate": [PHOTO]}, "expected precision='int8' with calibrate, got"),
        ({**INT8, "calibrate": []}, "expected at least one batch of images, got none"),
    ],
)
def test_precisions_without_sense_are_refused(
    how: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        make(**how)
    make().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=said):
        Segmenter.from_pretrained(tmp_path, **how)
    with pytest.raises(ValueError, match=said):
        sparse_ovs.create_segmenter(checkpoint=tmp_path, **how)


def test_a_segmenter_without_a_plan_has_nothing_to_calibrate() -> None:
    with pytest.raises(ValueError, match="expected a fast predictor to calibrate"):
        make().calibrate([PHOTO])


def test_images_that_are_none_are_refused(tmp_path: Path) -> None:
    segmenter = make(fast=True)
    with pytest.raises(ValueError, match=r"expected images in .*, got none"):
        segmenter.calibrate(tmp_path)
    with pytest.raises(NotADirectoryError, match="expected a folder of images"):
        segmenter.calibrate(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="expected a folder or several images, got Image"):
        segmenter.calibrate(Image.fromarray(PHOTO))
    with pytest.raises(ValueError, match="expected floating-point pixels from 0 to 1"):
        segmenter.calibrate([segmenter.to_input(Image.fromarray(PHOTO))])


def test_the_scales_of_another_encoder_are_refused_by_layer() -> None:
    q = make(**INT8, calibrate=[PHOTO]).quantization
    with pytest.raises(ValueError, match=r"of this model, got one without layer3\.1\.conv1"):
        make(DEEP_RN, **INT8, calibrate=q).predict(PHOTO)
