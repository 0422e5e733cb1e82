"""The images that a compression sees: most to compress on, a tenth held out to judge by."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn

from sparse_ovs.data.image_folder import image_paths
from sparse_ovs.data.images import read_image
from sparse_ovs.quantization.batches import Batches, tensors_of

_HELD_OUT = 10  # every so many-th image
_LARGEST_BATCH = 16


@dataclass(frozen=True)
class Images:
    """Float32 images of one size.

    Attributes:
        calibration: (N, C, H, W), to compress on.
        held_out: (M, C, H, W), to judge by: a tenth; of one image alone, the same one.
        skipped: files that could not be read, and why.
    """

    calibration: Tensor
    held_out: Tensor
    skipped: tuple[str, ...] = ()

    def batches(self) -> list[Tensor]:
        """Those to compress on, in equal batches: traced programs may hold the batch's size."""
        return equal_batches(self.calibration)

    @property
    def example(self) -> Tensor:
        """(1, C, H, W): what plans are made and timed for."""
        return self.calibration[:1].contiguous()


def split_images(batches: Batches, module: nn.Module) -> Images:
    """Reads all images, and holds every tenth out.

    Args:
        batches: see `sparse_ovs.quantize`; files of a folder that are no readable images are left
            out.
        module: whose `preprocess` prepares a folder of images.

    Raises:
        ValueError, TypeError: no images, or images of several sizes.
        NotADirectoryError: no such folder.
    """
    skipped: tuple[str, ...] = ()
    if isinstance(batches, (str, os.PathLike)):
        preprocess = getattr(module, "preprocess", None)
        if preprocess is None:
            raise ValueError(
                "expected tensors for a model without `preprocess`, got a folder of images"
            )
        batches, skipped = read_photos(batches, preprocess)
    parts = list(tensors_of(batches, module))
    sizes = {tuple(part.shape[1:]) for part in parts}
    if len(sizes) > 1:
        shown = " and ".join("x".join(map(str, size)) for size in sorted(sizes)[:2])
        raise ValueError(f"expected images of one size, got {shown}")
    everything = torch.cat(parts)
    count = len(everything)
    if count == 1:
        return Images(everything, everything, skipped)
    held = torch.zeros(count, dtype=torch.bool)
    held[_HELD_OUT - 1 :: _HELD_OUT] = True
    if count < _HELD_OUT:
        held[-1] = True
    return Images(everything[~held], everything[held], skipped)


def read_photos(
    folder: str | os.PathLike[str],
    transform: Callable[[Image.Image], Tensor],
    limit: int | None = None,
    on_photo: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Sequence[Tensor], tuple[str, ...]]:
    """The readable images of a folder, (1, C, H, W) each, and what was left out: file and reason.

    Args:
        transform: PIL image (RGB, upright) -> (C, H, W).
        limit: so many images at most.
        on_photo: called with the number of files seen, and of all.

    Raises:
        NotADirectoryError: no such folder.
        ValueError: no images in it, or none that can be read.
    """
    images: list[Tensor] = []
    skipped: list[str] = []
    paths = image_paths(folder)
    for number, path in enumerate(paths, 1):
        try:
            images.append(transform(read_image(path))[None])
        except (ValueError, OSError) as error:
            lines = str(error).strip().splitlines()
            skipped.append(f"{path}: {lines[0] if lines else type(error).__name__}")
        on_photo(number, len(paths))
        if limit is not None and len(images) == limit:
            break
    if not images:
        raise ValueError(f"expected images that can be read in {folder}, got {len(skipped)} broken")
    return images, tuple(skipped)


def equal_batches(images: Tensor) -> list[Tensor]:
    """The images in batches of one size, of up to 16."""
    size = next(n for n in range(_LARGEST_BATCH, 0, -1) if len(images) % n == 0)
    return list(images.split(size))
