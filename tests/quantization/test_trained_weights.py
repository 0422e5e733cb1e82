"""int8 on really trained weights: calibrated on some photos, judged on others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.engine import CompiledEncoder
from sparse_ovs.profiling.macs import count_macs
from sparse_ovs.quantization import layer_errors
from support.trained_network import labelled_photos, other_photos, trained_network, whole


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained_network()


@pytest.fixture(scope="module")
def known() -> list[Tensor]:
    """Photos to calibrate on, (1, 3, 224, 224) each."""
    portrait = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
    photos = [*other_photos(), Image.open(portrait).convert("RGB")]
    return [whole(photo)[None] for photo in photos]


def in_int8(network: nn.Module, known: Sequence[Tensor]) -> CompiledEncoder:
    q = sparse_ovs.quantize(network, known)
    x = known[0]
    return sparse_ovs.compile(network, x, autotune=False, precision="int8", quantization=q)


def agreeing(network: nn.Module, fast: nn.Module) -> int:
    """Labelled photos of which both say the same."""
    photos, _ = labelled_photos()
    with torch.no_grad():
        return int((network(photos).argmax(1) == fast(photos).argmax(1)).sum())


def test_a_network_with_depthwise_layers_and_relu6_runs_in_int8(
    network: nn.Module, known: list[Tensor]
) -> None:
    x = known[0]
    fast = in_int8(network, known[:4])
    macs = count_macs(network, x)
    rows = fast.plan_for(x).rows()
    coded = {row.name for row in rows if row.backend.startswith("int8")}
    assert coded <= macs.keys()
    share = sum(macs[n].dense for n in coded) / sum(each.dense for each in macs.values())
    assert share >= 0.95


@pytest.mark.slow
def test_int8_says_of_photos_what_fp32_says(network: nn.Module, known: list[Tensor]) -> None:
    assert agreeing(network, in_int8(network, known)) >= 18


@pytest.mark.slow
def test_the_worst_layers_cost_more_than_the_others(
    network: nn.Module, known: list[Tensor]
) -> None:
    """Kept in fp32, the layers of the largest errors leave less error than as many others."""
    some = known[:4]
    errors = layer_errors(network, some, sparse_ovs.quantize(network, some))
    worst_first = sorted(errors, key=lambda each: -each.alone)
    left = []
    for kept in (worst_first[:10], worst_first[-10:]):
        q = sparse_ovs.quantize(network, some, exclude=[each.layer for each in kept])
        left.append(layer_errors(network, some, q)[-1].whole)
    assert left[0] < left[1]
