"""A folder of photos as batches of one size: what an encoder is profiled and calibrated on."""

from __future__ import annotations

import os

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from sparse_ovs.backbones.clip_pixels import MEAN, STD
from sparse_ovs.data import ImageFolder

# More change int8's scales little, and every one costs a pass.
_MOST = 32


def photo_batches(
    folder: str | os.PathLike[str], size: tuple[int, int], batch: int
) -> list[Tensor]:
    """Up to 32 photos, (batch, 3, H, W) each: cropped to the size's shape, normalised as CLIP was
    trained. The last batch is filled with photos from the start.

    Raises:
        NotADirectoryError: no such folder.
        ValueError: no images in it, or one that cannot be read.
    """

    def pixels(photo: Image.Image) -> Tensor:
        fitted = np.array(ImageOps.fit(photo, (size[1], size[0])))
        values = torch.from_numpy(fitted).float() / 255
        return ((values - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1)

    photos = ImageFolder(folder, pixels)
    images = [photos[number] for number in range(min(len(photos), max(_MOST, batch)))]
    starts = range(0, len(images), batch)
    places = [[(start + k) % len(images) for k in range(batch)] for start in starts]
    return [torch.stack([images[place] for place in each]).contiguous() for each in places]
