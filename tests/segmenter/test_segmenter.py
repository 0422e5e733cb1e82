"""Segmenter: words and images in, classes out, at any size and with a stated background."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import sparse_ovs
from sparse_ovs.segmenter import RandomWeightsWarning, Segmenter
from sparse_ovs.segmenter.scoring import CellScores
from support.small_clips import RN, VIT, small_backbone

WORDS = "cat, kitten; dog; sky"
PHOTO = np.random.default_rng(0).integers(0, 255, (100, 150, 3), np.uint8)


def make(name: str = RN, **options: Any) -> Segmenter:
    backbone = small_backbone(name, density=0.5)
    backbone.clip.random_parts = ()
    if name == VIT:
        backbone.select((2,))
    made = sparse_ovs.create_segmenter("maskclip", backbone, **{"size": 64, **options})
    return made.set_vocabulary(WORDS)


@pytest.mark.parametrize("name", [RN, VIT])
def test_a_result_has_a_class_and_probabilities_for_every_pixel(name: str) -> None:
    result = make(name).predict(PHOTO)
    assert result.sem_seg.shape == (100, 150)
    assert result.sem_seg.dtype == torch.int64
    assert result.scores is not None
    assert result.scores.shape == (3, 100, 150)
    torch.testing.assert_close(result.scores.sum(0), torch.ones(100, 150))
    assert (result.scores.argmax(0) == result.sem_seg).float().mean() > 0.999
    assert result.vocabulary.names == ("cat", "dog", "sky")
    assert result.image.size == (150, 100)


def test_of_classes_with_one_name_the_first_wins_every_pixel() -> None:
    words = ["cat", "kitten", "dog", "sky"]
    segmenter = make()
    once = segmenter.set_vocabulary(words).predict(PHOTO).sem_seg
    assert torch.equal(segmenter.set_vocabulary(words * 2).predict(PHOTO).sem_seg, once)


@torch.no_grad()
@pytest.mark.parametrize("name", [RN, VIT])
def test_a_prediction_is_the_heads_on_the_resized_image(name: str) -> None:
    segmenter = make(name)
    stride = segmenter.backbone.feature_info.reduction()[-1]
    width = round(96 / stride) * stride
    resized = Image.fromarray(PHOTO).resize((width, 64), Image.Resampling.BICUBIC)
    x = segmenter.backbone.preprocess.transforms[-1](
        torch.from_numpy(np.array(resized)).permute(2, 0, 1) / 255
    )
    text = sparse_ovs.text.embed_vocabulary(
        segmenter.backbone.clip, sparse_ovs.Vocabulary.parse(WORDS)
    )
    logits = segmenter.head(segmenter.backbone(x[None]), text)
    large = F.interpolate(logits, (100, 150), mode="bilinear", align_corners=False)[0]
    scores = segmenter.predict(PHOTO).scores
    torch.testing.assert_close(scores, large.softmax(0), rtol=1e-3, atol=1e-4)


def test_segments_are_the_classes_that_were_found() -> None:
    result = make().predict(PHOTO)
    found = result.sem_seg.unique().tolist()
    assert sorted(segment.index for segment in result.segments) == found
    assert sum(segment.area for segment in result.segments) == 100 * 150
    assert result.scores is not None
    for segment in result.segments:
        inside = result.sem_seg == segment.index
        assert segment.label == result.vocabulary.names[segment.index]
        assert segment.area == int(inside.sum())
        mean = float(result.scores[segment.index][inside].mean())
        assert segment.score == pytest.approx(mean, rel=1e-4)


def test_labels_alone_are_those_of_the_result_whatever_the_chunk() -> None:
    segmenter = make()
    expected = segmenter.predict(PHOTO).sem_seg
    for chunk in (1, 2, 64):
        assert torch.equal(segmenter.predict_labels(PHOTO, class_chunk=chunk), expected)


def test_three_lines_are_enough(tmp_path: Path) -> None:
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    segmenter = make()
    result = segmenter.predict(tmp_path / "photo.png", ["plane", "sky, clouds"])
    assert result.vocabulary.names == ("plane", "sky")
    assert segmenter.vocabulary is result.vocabulary


def test_a_batch_gives_a_result_for_each_image() -> None:
    segmenter = make()
    others = [PHOTO, Image.fromarray(PHOTO[:50]), torch.from_numpy(PHOTO).permute(2, 0, 1)]
    results = segmenter.predict(others)
    assert [tuple(r.sem_seg.shape) for r in results] == [(100, 150), (50, 150), (100, 150)]
    assert torch.equal(results[0].sem_seg, results[2].sem_seg)
    assert len(segmenter.predict(np.stack([PHOTO, PHOTO]))) == 2


def test_without_a_vocabulary_there_is_nothing_to_predict() -> None:
    segmenter = sparse_ovs.create_segmenter("maskclip", make().backbone)
    for predict in (segmenter.predict, segmenter.predict_labels):
        with pytest.raises(ValueError, match="expected a vocabulary, got none: call set_vocab"):
            predict(PHOTO)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (31, 33), (2, 2000)])
@pytest.mark.parametrize("name", [RN, VIT])
def test_images_of_any_shape_are_segmented(name: str, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 255, (*shape, 3), np.uint8)
    result = make(name, longest=256).predict(image)
    assert tuple(result.sem_seg.shape) == shape


def test_an_image_of_8000_pixels_is_segmented_without_all_scores() -> None:
    image = np.zeros((8000, 1200), np.uint8)
    image[4000:] = 255
    segmenter = make()
    result = segmenter.predict(image, [f"thing {i}" for i in range(8)])
    assert result.scores is None  # 307 MB
    assert tuple(result.sem_seg.shape) == (8000, 1200)
    assert len(result.segments) >= 1


def test_scores_are_kept_or_left_out_as_asked() -> None:
    segmenter = make()
    assert segmenter.predict(PHOTO, scores=False).scores is None
    assert segmenter.predict(PHOTO, scores=True).scores is not None


@pytest.mark.parametrize(
    ("options", "content", "padded"),
    [
        ({"size": 64}, (64, 96), (64, 96)),
        ({"size": None}, (100, 150), (128, 160)),
        ({"size": 200}, (200, 300), (224, 320)),
        ({"size": 200, "longest": 97}, (65, 97), (96, 128)),
        ({"size": 8}, (8, 12), (32, 32)),
    ],
)
def test_images_are_padded_with_zeros_to_whole_strides(
    options: dict[str, Any], content: tuple[int, int], padded: tuple[int, int]
) -> None:
    segmenter, (height, width) = make(**options), content
    x = segmenter.to_input(Image.fromarray(PHOTO))
    assert x.shape == (1, 3, *padded)
    resized = Image.fromarray(PHOTO).resize((width, height), Image.Resampling.BICUBIC)
    normalise = segmenter.backbone.preprocess.transforms[-1]
    expected = normalise(torch.from_numpy(np.array(resized)).permute(2, 0, 1) / 255)
    torch.testing.assert_close(x[0, :, :height, :width], expected)
    assert not x[..., height:, :].any()
    assert not x[..., width:].any()


def test_a_picture_of_300_by_230_keeps_its_scale() -> None:
    picture = Image.fromarray(np.zeros((230, 300, 3), np.uint8))
    frame = make(size=None).frame(picture)
    assert (frame.picture, frame.content, frame.padded) == ((230, 300), (230, 300), (256, 320))


@torch.no_grad()
def test_padding_is_no_part_of_a_prediction() -> None:
    segmenter = make(size=None)
    x = segmenter.to_input(Image.fromarray(PHOTO))  # 128 x 160, of which 100 x 150 are the photo
    logits = segmenter.head(segmenter.backbone(x), segmenter._text)
    at_input = F.interpolate(logits, (128, 160), mode="bilinear", align_corners=False)
    expected = at_input[0, :, :100, :150].softmax(0)
    torch.testing.assert_close(segmenter.predict(PHOTO).scores, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_large_images_are_seen_through_windows() -> None:
    segmenter = make(size=None, window=70, overlap=0.5)
    x = segmenter.to_input(Image.fromarray(PHOTO))  # 128 x 160, windows of 64
    seen = []
    encode = segmenter.encode
    segmenter.encode = lambda x: seen.append(tuple(x.shape[2:])) or encode(x)  # type: ignore[method-assign]
    scores = segmenter.scores(x)
    assert seen == [(64, 64)] * 12
    assert isinstance(scores, CellScores)
    assert scores.grid.shape == (3, 4, 5)
    corner = segmenter.head(encode(x[..., :64, :64]), segmenter._text)[0]
    torch.testing.assert_close(scores.grid[:, 0, 0], corner[:, 0, 0])


@pytest.mark.parametrize("name", [RN, VIT])
def test_the_compiled_encoder_gives_the_same_scores(name: str) -> None:
    slow, fast = make(name), make(name, fast=True)
    expected = slow.predict(PHOTO).scores
    torch.testing.assert_close(fast.predict(PHOTO).scores, expected, rtol=1e-3, atol=1e-3)
    other = PHOTO[:70]  # another size, the same plan
    torch.testing.assert_close(
        fast.predict(other).scores, slow.predict(other).scores, rtol=1e-3, atol=1e-3
    )


def test_a_forgotten_plan_is_made_of_the_new_weights() -> None:
    segmenter = make(fast=True)
    before = segmenter.predict(PHOTO).scores
    with torch.no_grad():
        segmenter.backbone.layer4[0].conv3.weight.mul_(-1)
    segmenter.forget_plan()
    assert not torch.allclose(segmenter.predict(PHOTO).scores, before)


def test_moving_a_fast_segmenter_drops_its_plan() -> None:
    segmenter = make(fast=True)
    segmenter.predict(PHOTO)
    assert segmenter._plan
    assert not segmenter.float()._plan


def test_moving_a_segmenter_moves_its_text_and_clip() -> None:
    segmenter = make().double()
    assert segmenter._text is not None
    assert segmenter._text.rows.dtype == torch.float64
    assert segmenter.backbone.clip.logit_scale.dtype == torch.float64
    expected = make().predict(PHOTO).scores
    torch.testing.assert_close(segmenter.predict(PHOTO).scores, expected, rtol=1e-3, atol=1e-3)


def test_a_moved_segmenter_takes_another_vocabulary() -> None:
    words = "red circle, green star"
    expected = make().set_vocabulary(words).predict(PHOTO).scores
    moved = make().double().set_vocabulary(words).predict(PHOTO).scores
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-3)


class TestBackground:
    """What becomes of pixels that no class fits."""

    def test_by_default_every_pixel_gets_a_class(self) -> None:
        assert int(make().predict(PHOTO).sem_seg.min()) >= 0

    def test_a_threshold_leaves_unsure_pixels_out(self) -> None:
        plain = make().predict(PHOTO)
        assert plain.scores is not None
        limit = float(plain.scores.amax(0).median())
        segmenter = make(background=limit)
        result = segmenter.predict(PHOTO)
        unsure = plain.scores.amax(0) < limit
        assert torch.equal(result.sem_seg, plain.sem_seg.masked_fill(unsure, -1))
        assert 0 < int(unsure.sum()) < unsure.numel()
        assert torch.equal(segmenter.predict_labels(PHOTO), result.sem_seg)
        assert sum(s.area for s in result.segments) == int((~unsure).sum())

    def test_a_name_of_its_own_competes_and_is_no_class(self) -> None:
        joint = make().predict(PHOTO, f"{WORDS}; wall, floor")
        segmenter = make(background="wall, floor")
        result = segmenter.predict(PHOTO)
        assert result.scores is not None
        assert joint.scores is not None
        assert result.scores.shape[0] == 3
        torch.testing.assert_close(result.scores, joint.scores[:3])
        assert torch.equal(result.sem_seg, joint.sem_seg.masked_fill(joint.sem_seg == 3, -1))
        assert torch.equal(segmenter.predict_labels(PHOTO), result.sem_seg)

    def test_the_name_of_a_class_is_that_class(self) -> None:
        plain = make().predict(PHOTO)
        index = int(plain.sem_seg.mode().values.mode().values)
        result = make(background=plain.vocabulary.names[index].upper()).predict(PHOTO)
        assert torch.equal(result.sem_seg, plain.sem_seg.masked_fill(plain.sem_seg == index, -1))
        assert index not in [segment.index for segment in result.segments]

    def test_a_threshold_needs_two_classes(self) -> None:
        with pytest.raises(ValueError, match="expected at least 2 classes where the background"):
            make(background=0.5).set_vocabulary("cat")

    def test_synonyms_of_a_class_cannot_compete_with_it(self) -> None:
        with pytest.raises(ValueError, match="got 'Kitten' and the class 'cat'"):
            make(background="Kitten")

    @pytest.mark.parametrize(
        ("background", "error", "message"),
        [
            (1.5, ValueError, r"expected a background from 0 to 1, got 1\.5"),
            ("", ValueError, "expected a name for class 0, got an empty one"),
            (True, TypeError, r"expected a background of None, a name or a number .* got True"),
            ([0], TypeError, r"expected a background of None, a name or a number .* got \[0\]"),
        ],
    )
    def test_any_other_policy_is_refused(
        self, background: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            make(background=background)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"head": "mask"}, ValueError, "expected a head of maskclip.*, got 'mask'"),
        ({"backbone": "RN51"}, ValueError, "expected the name of an open_clip model, got 'RN51'"),
        ({"templates": "all"}, ValueError, "expected templates bare, vild, imagenet or a list"),
        ({"size": 0}, ValueError, "expected a size of at least 1 pixel, got 0"),
        ({"window": -1}, ValueError, "expected a window of at least 1 pixel, got -1"),
        ({"overlap": 1.0}, ValueError, "expected an overlap with 0 <= overlap < 1, got 1.0"),
        ({"colour": 1}, TypeError, "expected options of templates, .*, got 'colour'"),
        ({"checkpoint": "a", "density": 0.1}, ValueError, "expected a checkpoint or density, got"),
        ({"checkpoint": "a", "pretrained": "b"}, ValueError, "a checkpoint or pretrained, got bo"),
    ],
)
def test_arguments_out_of_range_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sparse_ovs.create_segmenter(**{"backbone": RN, **arguments})


def test_a_made_backbone_excludes_what_makes_one() -> None:
    backbone = make().backbone
    with pytest.raises(ValueError, match="for a backbone by name alone, got a Backbone"):
        sparse_ovs.create_segmenter("maskclip", backbone, density=0.5)
    with pytest.raises(ValueError, match="for a backbone by name alone, got a Backbone"):
        sparse_ovs.create_segmenter("maskclip", backbone, output_stride=16)
    with pytest.raises(ValueError, match="expected a checkpoint or a backbone, got both"):
        sparse_ovs.create_segmenter("maskclip", backbone, checkpoint="a")


def test_a_resnet_by_name_is_dilated_as_asked_or_as_the_head_wants() -> None:
    small_backbone(RN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomWeightsWarning)
        strides = [
            sparse_ovs.create_segmenter(head, RN, output_stride=wanted).backbone.levels()[-1].stride
            for head, wanted in [("maskclip", None), ("maskclip", 16), ("deeplabv3", None)]
        ]
    assert strides == [32, 16, 16]


@pytest.mark.parametrize("name", [RN, VIT])
def test_a_backbone_by_name_gives_just_what_the_head_needs(name: str) -> None:
    small_backbone(name)
    with pytest.warns(RandomWeightsWarning, match=r"random weights \(image encoder, .*mean noth"):
        segmenter = sparse_ovs.create_segmenter("maskclip", name, density=0.3)
    assert len(segmenter.backbone.out_indices) == 1
    assert segmenter.backbone.report is not None


def test_weights_of_the_image_tower_alone_leave_the_text_random(tmp_path: Path) -> None:
    backbone = small_backbone()
    torch.save(backbone.clip.visual.state_dict(), tmp_path / "visual.pt")
    with pytest.warns(RandomWeightsWarning, match=r"random weights \(text tower\)"):
        sparse_ovs.create_segmenter("maskclip", RN, tmp_path / "visual.pt")
    torch.save(backbone.state_dict(), tmp_path / "trunk.pt")
    with pytest.warns(RandomWeightsWarning, match=r"\(image projection, text tower\)"):
        sparse_ovs.create_segmenter("maskclip", RN, tmp_path / "trunk.pt")
    sparse_ovs.save(backbone, tmp_path / "ours.safetensors")
    with pytest.warns(RandomWeightsWarning, match=r"\(image projection, text tower\)"):
        sparse_ovs.create_segmenter("maskclip", RN, tmp_path / "ours.safetensors")


def test_whole_weights_give_no_warning(tmp_path: Path) -> None:
    torch.save(small_backbone().clip.model.state_dict(), tmp_path / "clip.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RandomWeightsWarning)
        sparse_ovs.create_segmenter("maskclip", RN, tmp_path / "clip.pt")
