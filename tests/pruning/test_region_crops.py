"""Crops of regions, against PIL."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sparse_ovs.pruning.region_crops import region_crops

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def _image() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(1, 3, 9, 12, generator=generator) * 255
    return torch.nn.functional.interpolate(coarse, (60, 90), mode="bilinear")[0].byte()


def _by_pillow(image: Tensor, region: Tensor, size: int) -> Tensor:
    """The same crop with PIL, pixel by pixel painted: uint8 levels as floats."""
    pixels = image.permute(1, 2, 0).numpy().copy()
    rows = [y for y in range(pixels.shape[0]) if region[y].any()]
    columns = [x for x in range(pixels.shape[1]) if region[:, x].any()]
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            if not region[y, x]:
                pixels[y, x] = (128, 128, 128)
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    crop = Image.fromarray(pixels).crop(box).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(crop)).permute(2, 0, 1).float()


def _levels(crop: Tensor) -> Tensor:
    return (crop * torch.tensor(_STD)[:, None, None] + torch.tensor(_MEAN)[:, None, None]) * 255


def _regions() -> Tensor:
    regions = torch.zeros(3, 60, 90, dtype=torch.bool)
    y, x = torch.meshgrid(torch.arange(60), torch.arange(90), indexing="ij")
    regions[0] = ((y - 30) ** 2 + (x - 40) ** 2) < 400  # a disc
    regions[1] = (y > 55) | (x < 3)  # an L at the border
    regions[2, 7, 11] = True  # one pixel
    return regions


@pytest.mark.parametrize("size", [224, 16])
def test_crops_are_those_of_pillow(size: int) -> None:
    image, regions = _image(), _regions()
    crops = region_crops(image, regions, size)
    assert crops.shape == (3, 3, size, size)
    assert crops.dtype == torch.float32
    for crop, region in zip(crops, regions, strict=True):
        difference = (_levels(crop) - _by_pillow(image, region, size)).abs()
        # PIL rounds to whole levels, after each of its two passes.
        assert float(difference.max()) <= 1.6
        assert float(difference.mean()) <= 0.5


def test_pixels_outside_the_region_are_grey() -> None:
    image = torch.zeros(3, 20, 20, dtype=torch.uint8)
    region = torch.zeros(1, 20, 20, dtype=torch.bool)
    region[0, :10, :10] = region[0, 10:, 10:] = True
    levels = _levels(region_crops(image, region, 20)[0])
    assert levels[:, 15, 2].tolist() == pytest.approx([128] * 3, abs=1e-3)
    assert levels[:, 2, 2].tolist() == pytest.approx([0] * 3, abs=1e-3)


def test_overshoot_stays_within_the_range_of_pixels() -> None:
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    image[:, :, 4:] = 255
    levels = _levels(region_crops(image, torch.ones(1, 8, 8, dtype=torch.bool), 64)[0])
    assert float(levels.min()) > -0.01
    assert float(levels.max()) < 255.01


def test_an_image_without_regions_gives_no_crops() -> None:
    found = region_crops(_image(), torch.zeros(0, 60, 90, dtype=torch.bool))
    assert found.shape == (0, 3, 224, 224)


def test_regions_without_a_pixel_are_all_named() -> None:
    regions = _regions()
    regions[0] = regions[2] = False
    with pytest.raises(ValueError, match=r"got none in \[0, 2\]"):
        region_crops(_image(), regions)


def test_other_dtypes_and_shapes_are_refused() -> None:
    with pytest.raises(TypeError, match="expected uint8 and bool"):
        region_crops(_image().float(), _regions())
    with pytest.raises(TypeError, match="expected uint8 and bool"):
        region_crops(_image(), _regions().byte())
    with pytest.raises(ValueError, match="expected an image"):
        region_crops(_image()[:1], _regions())
    with pytest.raises(ValueError, match="expected regions of the image's size"):
        region_crops(_image(), _regions()[:, :50])
