"""A folder of images without labels."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from sparse_ovs.data.images import read_image

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


class ImageFolder(Dataset[Tensor]):
    """All images in a folder and the folders in it, in the order of their paths.

    Args:
        folder: where they are; other files in it are passed over.
        transform: PIL image (RGB, upright) -> tensor, such as a backbone's `.preprocess`.

    Attributes:
        paths: of the images.

    Raises:
        NotADirectoryError: no such folder.
        ValueError: no images in it; at access, a file that is no readable image.
    """

    def __init__(
        self, folder: str | os.PathLike[str], transform: Callable[[Image.Image], Tensor]
    ) -> None:
        self.paths = image_paths(folder)
        self._transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return self._transform(read_image(self.paths[index]))


def image_paths(folder: str | os.PathLike[str]) -> list[Path]:
    """All images in a folder and the folders in it, in order.

    Raises:
        NotADirectoryError: no such folder.
        ValueError: no images in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"expected a folder of images, got {folder}")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
    if not paths:
        raise ValueError(f"expected images in {folder}, got none ({_names()})")
    return paths


def _names() -> str:
    return ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
