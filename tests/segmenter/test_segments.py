"""Panoptic and instance results of a segmenter, and DeepLab segmenters in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import sparse_ovs
from sparse_ovs.segmenter import InstanceResult, Options, PanopticResult, Segmenter
from support.small_clips import DEEP_RN, RN, small_backbone
from support.small_masks import ToldMasks

pytestmark = pytest.mark.filterwarnings("ignore:random weights")

PHOTO = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
WORDS = "cat, kitten; sky"


def told(probabilities: list[list[float]], **options: Any) -> Segmenter:
    """A query for each quarter of the image, row by row."""
    masks = torch.full((4, 8, 12), -9.0)
    masks[0, :4, :6] = masks[1, :4, 6:] = masks[2, 4:, :6] = masks[3, 4:, 6:] = 9.0
    backbone = small_backbone(RN)
    backbone.clip.random_parts = ()
    head = ToldMasks(backbone, torch.tensor(probabilities), masks)
    return Segmenter(backbone, head, Options(size=64, **options))


CATS_AND_SKY = [[0.9, 0.1, 0.0], [0.6, 0.1, 0.3], [0.1, 0.8, 0.1], [0.1, 0.7, 0.2]]


def quarters(ids: Tensor) -> list[int]:
    return [int(ids[y, x]) for y, x in ((5, 5), (5, 90), (60, 5), (60, 90))]


def queries() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(5, 3, generator=draw).softmax(-1) / 5, 6 * torch.randn(
        5, 8, 12, generator=draw
    )


def by_hand(order: str) -> Tensor:
    """Scores of a picture of 120 x 180 pixels that fills 60 x 90 of the input's 64 x 96."""
    probabilities, logits = (each.double() for each in queries())

    def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
        return F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]

    def content(maps: Tensor) -> Tensor:
        return upsample(maps, (64, 96))[:, :60, :90]

    def add_up(masks: Tensor) -> Tensor:
        return torch.einsum("qk,qhw->khw", probabilities[:, :2], masks.sigmoid())

    if order == "image":
        return add_up(upsample(content(logits), (120, 180))).float()
    if order == "cheap":  # at once, as of a picture that fills the input
        return upsample(add_up(logits), (128, 192))[:, :120, :180].float()
    return upsample(add_up(content(logits)), (120, 180)).float()


@pytest.mark.parametrize("order", ["original", "image", "cheap"])
def test_masks_become_scores_in_the_order_that_was_asked_for(order: str) -> None:
    backbone = small_backbone(RN)
    backbone.clip.random_parts = ()
    segmenter = Segmenter(
        backbone, ToldMasks(backbone, *queries()), Options(size=60, mask_order=order)
    )
    scores = segmenter.predict(Image.fromarray(PHOTO).resize((180, 120)), WORDS).scores
    torch.testing.assert_close(scores, by_hand(order), rtol=0, atol=1e-5)


def test_the_orders_differ() -> None:
    for one, other in (("original", "cheap"), ("original", "image"), ("image", "cheap")):
        assert float((by_hand(one) - by_hand(other)).abs().max()) > 0.005


def test_the_originals_order_is_the_default() -> None:
    assert Options().mask_order == "original"
    with pytest.raises(ValueError, match="expected a mask_order of original, image, cheap, got 'p"):
        Options(mask_order="picture")


def test_windows_are_summed_each_by_itself_and_averaged() -> None:
    backbone = small_backbone(RN)
    backbone.clip.random_parts = ()
    masks = 6 * torch.randn(2, 8, 8)
    head = ToldMasks(backbone, torch.tensor([[0.4, 0.3, 0.3], [0.1, 0.5, 0.4]]), masks)
    options = Options(size=None, window=64, overlap=0.5)
    made = Segmenter(backbone, head, options).predict(PHOTO, WORDS).scores  # windows at 0 and 32
    inside = F.interpolate(masks[None], (64, 64), mode="bilinear", align_corners=False)[0].sigmoid()
    scores = torch.einsum("qk,qhw->khw", head.told.probabilities[0, :, :2], inside)
    torch.testing.assert_close(made[..., :32], scores[..., :32])
    torch.testing.assert_close(made[..., 64:], scores[..., 32:])
    torch.testing.assert_close(made[..., 32:64], (scores[..., 32:] + scores[..., :32]) / 2)


def test_a_panoptic_result_tells_things_apart_and_joins_stuff() -> None:
    result = told(CATS_AND_SKY).predict_panoptic(PHOTO, WORDS, things=["cat"])
    assert isinstance(result, PanopticResult)
    assert quarters(result.ids) == [1, 2, 3, 3]
    largest = result.segments[0]
    assert (largest.label, largest.index, largest.thing) == ("sky", 1, False)
    assert largest.area == int((result.ids == 3).sum())
    assert [entry["label"] for entry in result.as_dicts()] == ["sky", "cat", "cat"]
    assert np.asarray(result.as_dicts()[0]["mask"])[60, 5] == 255
    assert result.records()[0]["id"] == 3


def test_panoptic_pictures_hold_ids_as_coco() -> None:
    result = told(CATS_AND_SKY).predict_panoptic(PHOTO, WORDS)
    large = PanopticResult(result.ids * 70000, result.segments, result.vocabulary, result.image)
    pixels = np.asarray(large.to_pil()).astype(np.int64)
    decoded = pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
    assert np.array_equal(decoded, large.ids.numpy())
    assert result.overlay(legend=False).size == (96, 64)
    assert result.overlay().size[1] > 64


def test_instances_come_by_falling_score() -> None:
    result = told(CATS_AND_SKY).predict_instances(PHOTO, WORDS, things=["cat"], top=4)
    assert isinstance(result, InstanceResult)
    assert [one.label for one in result.instances] == ["cat", "cat"]
    assert result.instances[0].score == pytest.approx(0.9, abs=0.02)
    assert result.instances[0].mask[5, 5]
    assert not result.instances[0].mask[60, 90]
    assert "mask" not in result.records()[0]
    assert [entry["score"] for entry in result.as_dicts()] == [
        one.score for one in result.instances
    ]
    assert result.overlay(legend=False).size == (96, 64)


def test_several_images_give_several_results() -> None:
    segmenter = told(CATS_AND_SKY)
    assert len(segmenter.predict_panoptic([PHOTO, PHOTO], WORDS)) == 2
    assert len(segmenter.predict_instances([PHOTO, PHOTO])) == 2


def test_a_background_that_is_a_class_has_no_segment() -> None:
    segmenter = told(CATS_AND_SKY, background="sky")
    assert quarters(segmenter.predict_panoptic(PHOTO, WORDS).ids) == [1, 2, 0, 0]
    assert {one.label for one in segmenter.predict_instances(PHOTO).instances} == {"cat"}


def test_names_of_a_background_compete_as_no_object() -> None:
    rows = [[*row[:2], 0.0, row[2]] for row in CATS_AND_SKY]
    rows[1] = [0.3, 0.1, 0.4, 0.2]
    segmenter = told(rows, background="wall")
    assert quarters(segmenter.predict_panoptic(PHOTO, WORDS).ids)[1] == 0


def test_a_background_that_is_a_number_drops_queries() -> None:
    ids = told(CATS_AND_SKY, background=0.65).predict_panoptic(PHOTO, WORDS).ids
    assert quarters(ids) == [1, 0, 2, 3]


def test_heads_that_score_pixels_have_neither() -> None:
    segmenter = sparse_ovs.create_segmenter("maskclip", small_backbone(RN))
    with pytest.raises(ValueError, match="masks for panoptic results, got maskclip, which scores"):
        segmenter.predict_panoptic(PHOTO, WORDS)
    with pytest.raises(ValueError, match="masks for instance results, got maskclip, which scores"):
        segmenter.predict_instances(PHOTO, WORDS)


def test_things_that_are_no_classes_are_refused() -> None:
    segmenter = told(CATS_AND_SKY)
    with pytest.raises(ValueError, match="expected things among the classes cat, sky, got 'dog'"):
        segmenter.predict_panoptic(PHOTO, WORDS, things=["dog"])
    with pytest.raises(TypeError, match="expected a list of names of things, got 'cat'"):
        segmenter.predict_panoptic(PHOTO, WORDS, things="cat")


def test_a_vocabulary_is_asked_for() -> None:
    with pytest.raises(ValueError, match="expected a vocabulary, got none"):
        told(CATS_AND_SKY).predict_panoptic(PHOTO)


@pytest.mark.parametrize("head", ["deeplabv3", "deeplabv3plus"])
def test_a_file_brings_the_output_stride_and_the_heads_sizes(head: str, tmp_path: Path) -> None:
    backbone = small_backbone(DEEP_RN, 0.3, output_stride=8)
    sizes = {"dim": 16, "low_dim": 8, "rates": (1, 2, 3)}
    made = sparse_ovs.create_segmenter(head, backbone, head_sizes=sizes, size=64)
    made.save_pretrained(tmp_path)
    back = Segmenter.from_pretrained(tmp_path)
    assert back.backbone.feature_info.reduction()[-1] == 8
    assert back.head.sizes == made.head.sizes
    expected, result = (s.predict(PHOTO, WORDS, scores=True) for s in (made, back))
    torch.testing.assert_close(result.scores, expected.scores)
    assert result.scores.shape == (2, 64, 96)


def test_a_backbone_by_name_is_dilated_as_the_head_wants() -> None:
    small_backbone(DEEP_RN)
    made = sparse_ovs.create_segmenter("deeplabv3", DEEP_RN, head_sizes="small")
    assert made.backbone.feature_info.reduction() == [16]
    assert made.head.sizes.dim == 64
    assert sparse_ovs.create_segmenter("maskclip", DEEP_RN).backbone.feature_info.reduction() == [
        32
    ]
