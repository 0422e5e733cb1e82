"""Whatever people call an image, as upright 8-bit RGB pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sparse_ovs.data.image_folder import image_paths
from sparse_ovs.data.images import read_image, to_rgb


def is_batch(image: Any) -> bool:
    """Whether it is several images: a list or tuple, or an array or tensor of four dimensions."""
    if isinstance(image, (np.ndarray, Tensor)):
        return image.ndim == 4
    return isinstance(image, Sequence) and not isinstance(image, (str, bytes))


def pictures(images: Any) -> Iterator[Image.Image]:
    """All of a folder, or of several images: of a list, an array, a DataLoader, batches among them.

    Raises:
        NotADirectoryError, ValueError: no such folder, or no images in it.
        ValueError, TypeError: as `to_picture`, and for what is not several images.
    """
    if isinstance(images, (str, os.PathLike)):
        yield from map(read_image, image_paths(images))
        return
    if not isinstance(images, Iterable):
        raise TypeError(f"expected a folder or several images, got {type(images).__name__}")
    for image in images:
        yield from map(to_picture, image if is_batch(image) else [image])


def to_picture(image: Any) -> Image.Image:
    """One image as RGB.

    Args:
        image: a path; a PIL image of any mode, EXIF orientation applied, alpha dropped, 16 bits
            scaled to 8; an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); or a tensor (H, W),
            (1, H, W), (3, H, W) or (4, H, W). Pixels are uint8, uint16, bool, or floating point
            from 0 to 1.

    Raises:
        ValueError: no such file, no readable image, or pixels of another shape or range.
        TypeError: something else, or pixels of another dtype.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        try:
            return to_rgb(image)
        except OSError as error:
            raise ValueError(f"expected a readable image, got a damaged one: {error}") from error
    if isinstance(image, Tensor):
        if image.dim() == 3:
            image = image.permute(1, 2, 0)
        if image.dtype in (torch.bfloat16, torch.float16):
            image = image.float()
        return _from_array(image.detach().cpu().numpy(), "channels first")
    if isinstance(image, np.ndarray):
        return _from_array(image, "channels last")
    raise TypeError(
        f"expected a path, a PIL image, an array or a tensor, got {type(image).__name__}"
    )


def _from_array(pixels: np.ndarray, layout: str) -> Image.Image:
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in pixels.shape:
        shape = pixels.shape
        if layout == "channels first" and len(shape) == 3:
            shape = (shape[2], *shape[:2])
        raise ValueError(
            f"expected pixels of 1, 3 or 4 channels ({layout}), got shape {tuple(shape)}"
        )
    pixels = _to_bytes(pixels)
    if channels == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, :3]))


def _to_bytes(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise TypeError(f"expected pixels of uint8, uint16 or floating point, got {pixels.dtype}")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):  # NaN too
        raise ValueError(f"expected floating-point pixels from 0 to 1, got {low:g} to {high:g}")
    return np.rint(pixels * 255).astype(np.uint8)
