"""A folder of images: which files count, in which order, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from sparse_ovs.data import ImageFolder


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def save(path: Path, colour: int, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (5, 4), colour).save(path)


def test_images_come_in_the_order_of_their_paths_from_all_folders(tmp_path: Path) -> None:
    save(tmp_path / "b.png", 2)
    save(tmp_path / "a" / "z.PNG", 1)
    save(tmp_path / "c.jpeg", 3)
    (tmp_path / "labels.txt").write_text("0")
    dataset = ImageFolder(tmp_path, pixels)
    assert [path.name for path in dataset.paths] == ["z.PNG", "b.png", "c.jpeg"]
    assert len(dataset) == 3
    assert [int(dataset[i][0, 0, 0]) for i in (0, 1)] == [1, 2]


def test_grey_images_come_with_three_channels(tmp_path: Path) -> None:
    save(tmp_path / "grey.png", 7, "L")
    image = ImageFolder(tmp_path, pixels)[0]
    assert image.shape == (3, 4, 5)
    assert (image == 7).all()


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match=r"expected a folder of images, got .*nowhere"):
        ImageFolder(tmp_path / "nowhere", pixels)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(ValueError, match=r"expected images in .*, got none \(bmp, jpeg, jpg"):
        ImageFolder(tmp_path, pixels)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"\x89PNG")
    dataset = ImageFolder(tmp_path, pixels)
    with pytest.raises(ValueError, match=r"expected a readable image, got .*cut\.png"):
        dataset[0]
