"""Procedural scenes: the same each time, labelled exactly, with compositions held out."""

from colorsys import rgb_to_hsv
from itertools import combinations

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from sparse_ovs.data import open_dataset
from sparse_ovs.data.scenes import COMPOSITIONS, SPLITS, UNSEEN, Scene, Scenes
from sparse_ovs.data.shapes import SHAPES
from sparse_ovs.data.textures import COLOURS, GROUNDS, TEXTURES

SOME = 60
HUES = {"red": 0, "orange": 32, "yellow": 55, "green": 120, "blue": 235, "purple": 285}
"""In degrees, as people name them."""


def some(split: str, **options: int) -> list[Scene]:
    scenes = Scenes(split, count=SOME, **options)
    return [scenes.scene(index) for index in range(SOME)]


def classes_of(scene: Scene) -> set[str]:
    return {Scenes.classes[k] for k in np.unique(scene.labels)}


def test_a_scene_depends_on_seed_split_index_and_size_only() -> None:
    first, again = Scenes(count=10), Scenes(count=500)
    for index in (9, 3, 3):
        one, other = first.scene(index), again.scene(index)
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.caption == other.caption


@pytest.mark.parametrize(
    "other", [Scenes(seed=1), Scenes("val-seen"), Scenes("val-unseen")], ids=["seed", "seen", "un"]
)
def test_other_seeds_and_splits_give_other_scenes(other: Scenes) -> None:
    same = [
        np.array_equal(Scenes().scene(index).labels, other.scene(index).labels)
        for index in range(10)
    ]
    assert sum(same) < 3


def test_every_pixel_has_the_class_of_an_object_or_of_the_ground() -> None:
    for split in SPLITS:
        for scene in some(split):
            named = {str(composition) for composition in scene.objects} | {scene.ground}
            assert classes_of(scene) == named


def test_captions_name_all_objects_and_the_ground() -> None:
    for scene in some("train"):
        assert scene.ground in scene.caption
        for composition in scene.objects:
            assert str(composition) in scene.caption


def test_no_object_is_hidden() -> None:
    for scene in some("train"):
        named = {str(composition) for composition in scene.objects}
        for name in named:
            assert (scene.labels == Scenes.classes.index(name)).sum() > 100


@pytest.mark.parametrize("split", SPLITS)
def test_held_out_compositions_are_in_their_split_only(split: str) -> None:
    things = {k for scene in some(split) for k in np.unique(scene.labels) if k >= len(GROUNDS)}
    if split == "val-unseen":
        assert things <= UNSEEN
    else:
        assert not things & UNSEEN


def test_every_two_of_colour_texture_and_shape_are_seen_together() -> None:
    seen = [
        (c.colour, c.texture, c.shape)
        for k, c in enumerate(COMPOSITIONS, len(GROUNDS))
        if k not in UNSEEN
    ]
    words = (COLOURS, TEXTURES, SHAPES)
    for a, b in combinations(range(3), 2):
        assert len({(c[a], c[b]) for c in seen}) == len(words[a]) * len(words[b])


def test_every_word_is_held_out_in_some_composition() -> None:
    unseen = [COMPOSITIONS[k - len(GROUNDS)] for k in UNSEEN]
    assert len(unseen) == 24
    assert {c.colour for c in unseen} == set(COLOURS)
    assert {c.texture for c in unseen} == set(TEXTURES)
    assert {c.shape for c in unseen} == set(SHAPES)


def test_every_class_has_a_name_of_its_own() -> None:
    assert len(set(Scenes.classes)) == len(Scenes.classes) == 148
    assert "red striped circle" in Scenes.classes


@pytest.mark.parametrize("size", [32, 97, 256])
def test_scenes_of_any_size_show_the_same_layout(size: int) -> None:
    for index in range(5):
        small, large = (Scenes(size=s).scene(index) for s in (size, 128))
        assert small.pixels.shape == (size, size, 3)
        assert small.caption == large.caption
        resized = Image.fromarray(large.labels).resize((size, size), Image.Resampling.NEAREST)
        assert (np.asarray(resized) == small.labels).mean() > 0.9


def test_plain_objects_have_the_colour_of_their_name() -> None:
    plain = 0
    for scene in some("train"):
        for composition in scene.objects:
            if composition.texture != "plain":
                continue
            inside = scene.labels == Scenes.classes.index(str(composition))
            hue = 360 * rgb_to_hsv(*scene.pixels[inside].mean(0) / 255)[0]
            distances = {name: abs((hue - h + 180) % 360 - 180) for name, h in HUES.items()}
            assert min(distances, key=distances.__getitem__) == composition.colour
            plain += 1
    assert plain > 10


@pytest.mark.parametrize("texture", [name for name in TEXTURES if name != "plain"])
def test_textures_have_two_tones_in_every_object(texture: str) -> None:
    steps = np.linspace(-1, 1, 64, dtype=np.float32)
    second = TEXTURES[texture](steps[None, :], steps[:, None], 0.5)
    assert 0.2 < second.mean() < 0.6


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_lie_inside_their_radius_and_fill_some_of_it(shape: str) -> None:
    steps = np.linspace(-1.2, 1.2, 241, dtype=np.float32)
    u, v = np.meshgrid(steps, steps)
    inside = SHAPES[shape](u, v)
    assert 0.2 < inside.sum() / (u**2 + v**2 < 1).sum() < 0.95
    # Corners of a square stick out by a little.
    assert not inside[np.maximum(np.abs(u), np.abs(v)) > 1].any()


def test_shapes_differ() -> None:
    steps = np.linspace(-1, 1, 101, dtype=np.float32)
    u, v = np.meshgrid(steps, steps)
    masks = [shape(u, v) for shape in SHAPES.values()]
    for one, other in combinations(masks, 2):
        assert (one & other).sum() / (one | other).sum() < 0.85


def test_a_data_loader_with_workers_makes_the_same_scenes() -> None:
    scenes = Scenes(size=32, count=6)
    loader = DataLoader(scenes, batch_size=None, num_workers=2, collate_fn=lambda sample: sample)
    for index, sample in enumerate(loader):
        np.testing.assert_array_equal(sample.labels, scenes[index].labels)
        assert sample.name == f"train-{index:06d}"


def test_scenes_are_a_dataset_by_name() -> None:
    dataset = open_dataset("scenes", split="val-unseen", size=32, count=3)
    samples = list(dataset)
    assert len(samples) == len(dataset) == 3
    assert samples[0].image.size == (32, 32)
    assert samples[0].labels.dtype == np.int32
    assert dataset.background is None
    np.testing.assert_array_equal(open_dataset("scenes")[0].labels, Scenes("val-seen")[0].labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "test"}, "expected split train, val-seen, val-unseen, got 'test'"),
        ({"size": 31}, "expected size >= 32 pixels, got 31"),
        ({"count": 0}, "expected count >= 1 and seed >= 0, got 0 and 0"),
        ({"seed": -1}, "expected count >= 1 and seed >= 0, got 1000 and -1"),
    ],
)
def test_impossible_scenes_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scenes(**options)


@pytest.mark.parametrize("index", [-1, 5])
def test_there_is_no_scene_outside_the_count(index: int) -> None:
    with pytest.raises(IndexError, match="expected 0 <= index < 5, got"):
        Scenes(count=5)[index]
