"""compress on VGG16's trained features: the last map of photos that it was not compressed on."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.compression.settings import Method
from support.calibration_crops import calibration_crops
from support.trained_network import labelled_photos
from support.trained_vgg16 import trained_vgg16, vgg16_pixels

pytestmark = pytest.mark.slow

_SIZE, _CROPS = 96, 3  # of each photo; obs takes six minutes of CPU time or so


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained_vgg16()


def prepared(images: Tensor) -> Tensor:
    return vgg16_pixels(F.interpolate(images, (_SIZE, _SIZE), mode="bilinear", antialias=True))


@torch.no_grad()
def error(network: nn.Module, method: Method) -> float:
    """Of the last map, relative, at a quarter of the MACs."""
    crops, (photos, _) = prepared(calibration_crops(_CROPS)), labelled_photos()
    made = sparse_ovs.compress(
        network, crops, budget_macs=0.25, method=method, baselines=("eager",)
    )
    dense, ours = (
        torch.cat([net(photo) for photo in prepared(photos).split(1)])
        for net in (network, made.module)
    )
    return float((ours - dense).norm() / dense.norm())


def test_at_a_quarter_of_the_macs_the_last_map_is_off_by_a_third_less_than_magnitudes(
    network: nn.Module,
) -> None:
    assert error(network, "obs") <= 2 / 3 * error(network, "magnitude")
