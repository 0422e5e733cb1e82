"""Scenes with sentences."""

from __future__ import annotations

import pytest
import torch

from sparse_ovs.data import Scenes
from sparse_ovs.loop.seeds import seeded
from sparse_ovs.training.scene_captions import SceneCaptions


def _pairs(**changes: float) -> SceneCaptions:
    given = {"pairs": 12, "objects": 1, "scene_size": 32, "size": 24, "crop": 0.7, "prompted": 0.0}
    return SceneCaptions(**{**given, **changes}, seed=0)  # type: ignore[arg-type]


def test_sentences_are_captions_of_training_scenes_with_few_objects() -> None:
    scenes = [Scenes("train", 32, 100).scene(i) for i in range(100)]
    wanted = [scene.caption for scene in scenes if len(scene.objects) == 1][:12]
    dataset = _pairs()
    assert [dataset[i][1] for i in range(12)] == wanted


def test_prompts_name_a_thing_of_the_scene() -> None:
    scenes = [Scenes("train", 32, 100).scene(i) for i in range(100)]
    alone = [scene for scene in scenes if len(scene.objects) == 1][:12]
    dataset = _pairs(prompted=1.0)
    for index, scene in enumerate(alone):
        sentence = dataset[index][1]
        assert str(scene.objects[0]) in sentence or scene.ground in sentence
        assert "{}" not in sentence


def test_the_same_seed_makes_the_same_item_and_another_seed_another() -> None:
    dataset = _pairs()
    images = []
    for seed in (1, 1, 2):
        with seeded(seed):
            images.append(dataset[0][0])
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_the_whole_scene_is_shown_where_no_crop_is_asked_for() -> None:
    dataset = _pairs(crop=1.0, size=32)
    pixels = Scenes("train", 32, 100)
    scene = next(s for s in map(pixels.scene, range(100)) if len(s.objects) == 1)
    with seeded(0):
        image = dataset[0][0]
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    found = (image * std + mean) * 255
    wanted = torch.from_numpy(scene.pixels.copy()).permute(2, 0, 1).float()
    assert torch.allclose(found, wanted, atol=1e-3) or torch.allclose(
        found, wanted.flip(2), atol=1e-3
    )


@pytest.mark.parametrize("change", [{"pairs": 0}, {"objects": 0}, {"crop": 0.0}, {"prompted": 2}])
def test_values_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        _pairs(**change)
