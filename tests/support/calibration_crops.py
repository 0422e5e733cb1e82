"""Photos to compress EfficientNet-Lite0 on: crops of those that packages ship, none labelled."""

from __future__ import annotations

import random
from pathlib import Path

import matplotlib
import torch
from PIL import Image
from torch import Tensor

from support.trained_network import other_photos, pixels, whole

_SIZE = 224


def calibration_crops(each: int = 10, seed: int = 0) -> Tensor:
    """(21 * each, 3, 224, 224), shuffled: every photo whole, and squares of it, half mirrored."""
    portrait = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
    rng = random.Random(seed)
    made = []
    for photo in [*other_photos(), Image.open(portrait).convert("RGB")]:
        made.append(whole(photo))
        for _ in range(each - 1):
            side = int(min(photo.size) * rng.uniform(0.5, 1))
            x, y = (rng.randint(0, extent - side) for extent in photo.size)
            box = (x, y, x + side, y + side)
            crop = pixels(photo.resize((_SIZE, _SIZE), Image.Resampling.BICUBIC, box))
            made.append(crop.flip(2) if rng.random() < 0.5 else crop)
    rng.shuffle(made)
    return torch.stack(made)
