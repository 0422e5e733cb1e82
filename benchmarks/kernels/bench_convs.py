"""Sparse convolutions against dense torch, on the layers of CLIP RN50 at 640 x 640."""

import os

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import nn

from sparse_ovs import make_mask
from sparse_ovs.nn import SparseConv2d

# name: in channels, out channels, kernel, map size
LAYERS = {
    "layer1 3x3": (64, 64, 3, 160),
    "layer1 1x1": (64, 256, 1, 160),
    "layer2 3x3": (128, 128, 3, 80),
    "layer2 1x1": (512, 128, 1, 80),
    "layer3 3x3": (256, 256, 3, 40),
    "layer3 1x1": (256, 1024, 1, 40),
    "layer4 3x3": (512, 512, 3, 20),
    "layer4 1x1": (2048, 512, 1, 20),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("kind", ["dense", "dense channels_last", "unstructured", "block4x1"])
def test_conv(benchmark: BenchmarkFixture, kind: str, layer: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    in_channels, out_channels, kernel, size = LAYERS[layer]
    conv: nn.Module = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    x = torch.randn(1, in_channels, size, size)
    if kind == "dense channels_last":
        conv = conv.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    elif kind != "dense":
        mask = make_mask(conv.weight.detach(), kind, 0.1)
        conv = SparseConv2d.from_dense(conv, mask, kind, "native")
    conv.eval()
    with torch.no_grad():
        benchmark(conv, x)
