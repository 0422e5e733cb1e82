"""Images of every kind as upright RGB, and clear words for what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparse_ovs.predictor.images import is_batch, to_picture

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], 2)
RGBA = np.dstack([RGB, np.full_like(GREY, 128)])


def as_three(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[:, :, None], 3, 2)


@pytest.mark.parametrize(
    ("image", "pixels"),
    [
        (Image.fromarray(RGB), RGB),
        (Image.fromarray(GREY), as_three(GREY)),
        (Image.fromarray(RGBA), RGB),
        (Image.fromarray(GREY.astype(np.uint16) * 257), as_three(GREY)),
        (Image.fromarray(GREY > 100), as_three((GREY > 100) * 255)),
        (GREY, as_three(GREY)),
        (GREY[:, :, None], as_three(GREY)),
        (GREY.astype(np.uint16) * 257, as_three(GREY)),
        (GREY > 100, as_three((GREY > 100) * 255)),
        (RGB, RGB),
        (RGBA, RGB),
        (RGB[::-1], RGB[::-1]),
        (RGB / 255, RGB),
        (RGB.astype(np.float32) / 255, RGB),
        (torch.from_numpy(GREY), as_three(GREY)),
        (torch.from_numpy(GREY)[None], as_three(GREY)),
        (torch.from_numpy(RGB).permute(2, 0, 1), RGB),
        (torch.from_numpy(RGBA).permute(2, 0, 1), RGB),
        (torch.from_numpy(RGB).permute(2, 0, 1).double().requires_grad_() / 255, RGB),
    ],
)
def test_pixels_of_every_kind_become_rgb(image: Any, pixels: np.ndarray) -> None:
    picture = to_picture(image)
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_half_precision_tensors_are_images_too() -> None:
    pixels = torch.tensor([[[0.0, 0.5, 1.0]]]).bfloat16()
    assert np.asarray(to_picture(pixels))[0, :, 0].tolist() == [0, 128, 255]


def test_a_rotated_photo_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    Image.fromarray(RGB).save(tmp_path / "photo.png", exif=exif)
    for image in (tmp_path / "photo.png", str(tmp_path / "photo.png")):
        np.testing.assert_array_equal(np.asarray(to_picture(image)), np.rot90(RGB, -1))
    with Image.open(tmp_path / "photo.png") as opened:
        np.testing.assert_array_equal(np.asarray(to_picture(opened)), np.rot90(RGB, -1))


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("no/such.png", ValueError, r"expected an image at no/such.png, got no such file"),
        (np.zeros((2, 3, 5)), ValueError, r"channels last\), got shape \(2, 3, 5\)"),
        (torch.zeros(5, 2, 3), ValueError, r"channels first\), got shape \(5, 2, 3\)"),
        (np.zeros((0, 3, 3), np.uint8), ValueError, r"got shape \(0, 3, 3\)"),
        (np.zeros(3, np.uint8), ValueError, r"got shape \(3,\)"),
        (np.full((2, 2), 7.0), ValueError, "floating-point pixels from 0 to 1, got 7 to 7"),
        (np.full((2, 2), np.nan), ValueError, "floating-point pixels from 0 to 1, got nan"),
        (np.zeros((2, 2), np.int32), TypeError, "expected pixels of uint8, .* got int32"),
        (3, TypeError, "expected a path, a PIL image, an array or a tensor, got int"),
    ],
)
def test_what_is_no_image_is_told(image: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        to_picture(image)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_a_file_that_is_no_whole_image_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000] if content is None else content)
    with pytest.raises(ValueError, match=r"expected a readable image, got .*photo\.png"):
        to_picture(path)


@pytest.mark.parametrize(
    ("image", "several"),
    [
        ([RGB], True),
        ((RGB, "a.png"), True),
        (np.zeros((2, 3, 4, 3)), True),
        (torch.zeros(2, 3, 4, 4), True),
        (RGB, False),
        ("a.png", False),
        (Path("a.png"), False),
        (torch.zeros(3, 4, 4), False),
    ],
)
def test_several_images_are_told_from_one(image: Any, several: bool) -> None:
    assert is_batch(image) is several
