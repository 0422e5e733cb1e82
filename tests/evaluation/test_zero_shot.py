"""Zero-shot accuracy on single objects of the scenes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone
from sparse_ovs.data import Scenes
from sparse_ovs.data.scenes import Scene
from sparse_ovs.evaluation.zero_shot import object_crop, zero_shot_accuracy
from sparse_ovs.text import Vocabulary, embed_vocabulary


def _scene(objects: int) -> Scene:
    scenes = map(Scenes("train", 64, 100).scene, range(100))
    return next(scene for scene in scenes if len(scene.objects) == objects)


def test_a_crop_is_a_square_of_half_the_side_that_shows_all_of_the_object() -> None:
    scene = _scene(1)
    marked = np.where(scene.labels[..., None] >= 4, 255, 0).astype(np.uint8).repeat(3, 2)
    crop = np.asarray(object_crop(Scene(marked, scene.labels, scene.objects, scene.ground, "")))
    assert crop.shape == (32, 32, 3)
    assert crop.sum() == marked.sum()


def test_scenes_of_several_objects_have_no_such_crop() -> None:
    with pytest.raises(ValueError, match="expected a scene of one object, got 2"):
        object_crop(_scene(2))


def test_a_model_that_always_answers_one_class_is_right_where_that_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone: Backbone = create_backbone("scenes-RN50")
    shown = [s for s in map(Scenes("train", 32, 200).scene, range(200)) if len(s.objects) == 1][:30]
    name = str(shown[0].objects[0])
    answer = embed_vocabulary(backbone.clip, Vocabulary(((name,),)), "bare", cache=False).rows

    def always(images: Tensor) -> Tensor:
        return answer.expand(len(images), -1)

    monkeypatch.setattr(backbone.clip.model, "encode_image", always)
    share = sum(str(scene.objects[0]) == name for scene in shown) / 30
    found = zero_shot_accuracy(backbone, "train", 30, scene_size=32)
    assert found == pytest.approx(share)
    assert found > 0


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="expected count >= 1, got 0"):
        zero_shot_accuracy(create_backbone("scenes-RN50"), "train", 0)


@pytest.mark.slow
@torch.no_grad()
def test_the_shipped_weights_know_compositions_that_training_never_showed() -> None:
    backbone = create_backbone("scenes-RN50", "scenes")
    assert zero_shot_accuracy(backbone, "val-seen", 200) > 10 / 148
    assert zero_shot_accuracy(backbone, "val-unseen", 200) > 5 / 148
