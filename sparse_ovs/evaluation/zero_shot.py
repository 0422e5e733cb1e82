"""Zero-shot classification of single objects of procedural scenes: what a tiny CLIP knows."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from PIL import Image

from sparse_ovs.backbones import Backbone
from sparse_ovs.data import Scenes
from sparse_ovs.data.scenes import Scene
from sparse_ovs.evaluation.nearest_name import Encode, ranks_of_names


def zero_shot_accuracy(
    backbone: Backbone,
    split: str,
    count: int = 500,
    templates: str | Sequence[str] = "bare",
    scene_size: int = 128,
    seed: int = 0,
    encode: Encode | None = None,
) -> float:
    """Share of objects whose own class, of all of the scenes', has the nearest text embedding.

    Shown are the first `count` scenes of the split with one object: a square of half the scene's
    side around it.

    Args:
        backbone: a CLIP that knows the scenes' words; in eval mode.
        split: see Scenes.
        templates: see `embed_vocabulary`.
        encode: such as a compiled encoder's; None takes the backbone's CLIP.

    Raises:
        ValueError: an argument out of its range, or words that the tokenizer does not know.
    """
    if count < 1:
        raise ValueError(f"expected count >= 1, got {count}")
    scenes = Scenes(split, scene_size, sys.maxsize, seed)
    crops: list[Image.Image] = []
    classes: list[int] = []
    index = 0
    while len(crops) < count:
        scene = scenes.scene(index)
        index += 1
        if len(scene.objects) == 1:
            crops.append(object_crop(scene))
            classes.append(scenes.classes.index(str(scene.objects[0])))
    ranks = ranks_of_names(backbone, crops, classes, scenes.classes, templates, encode)
    return int((ranks == 0).sum()) / count


def object_crop(scene: Scene) -> Image.Image:
    """The square of half the scene's side around its only object, within the scene.

    Raises:
        ValueError: a scene of another number of objects.
    """
    if len(scene.objects) != 1:
        raise ValueError(f"expected a scene of one object, got {len(scene.objects)}")
    size = len(scene.labels)
    side = size // 2
    ground = scene.labels.min()  # grounds are the first classes
    box = []
    for axis in (0, 1):
        there = np.flatnonzero((scene.labels != ground).any(axis))
        middle = (int(there[0]) + int(there[-1]) + 1) // 2
        box.append(min(max(middle - side // 2, 0), size - side))
    x, y = box
    return Image.fromarray(scene.pixels[y : y + side, x : x + side])
