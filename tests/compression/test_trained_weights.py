"""compress on really trained weights: on crops of some photos, judged on other ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.compression import Compressed
from support.calibration_crops import calibration_crops
from support.trained_network import labelled_photos, trained_network

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained_network()


@pytest.fixture(scope="module")
def crops() -> Tensor:
    return calibration_crops()


def compress(network: nn.Module, crops: Tensor, density: float, **options: object) -> Compressed:
    """Of its 1 x 1 convolutions, by the densities of global magnitude."""
    return sparse_ovs.compress(
        network,
        crops,
        density=density,
        allocation="global",
        exclude=["classifier"],
        baselines=("eager",),
        **options,  # type: ignore[arg-type]
    )


def top5(network: nn.Module) -> int:
    """Labelled photos, of 20, whose label is among the five likeliest."""
    photos, labels = labelled_photos()
    with torch.no_grad():
        logits = torch.cat([network(photo) for photo in photos.split(1)])
    return int((logits.topk(5, 1).indices == labels[:, None]).any(1).sum())


@pytest.mark.parametrize(("density", "least"), [(0.5, 19), (0.35, 17)])
def test_half_or_a_third_of_the_weights_know_most_photos_also_in_int8(
    network: nn.Module, crops: Tensor, density: float, least: int
) -> None:
    pruned = top5(compress(network, crops, density).module)
    assert pruned >= least
    made = compress(network, crops, density, precision="int8")
    q = made.quantization
    fast = sparse_ovs.compile(
        made.module, crops[:1], autotune=False, precision="int8", quantization=q
    )
    assert top5(fast) >= pruned - 1


def test_a_quarter_of_the_weights_knows_more_photos_than_magnitude(
    network: nn.Module, crops: Tensor
) -> None:
    ours = compress(network, crops, 0.25)
    assert top5(ours.module) > top5(compress(network, crops, 0.25, method="magnitude").module)
