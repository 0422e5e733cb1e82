"""From 100 queries' masks to the classes of an 800 x 1216 picture: natively, and in plain torch."""

import os

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from sparse_ovs.heads.frame import Frame
from sparse_ovs.ops import MaskWindow
from sparse_ovs.segmenter.decide_masks import decide_masks

FRAME = Frame.of_size((800, 1216))
QUERIES, CLASSES, CELLS = 100, 20, (200, 304)


def in_torch(window: MaskWindow, at_image: bool) -> Tensor:
    """The input is the picture's size here, so both orders are the same."""
    masks = F.interpolate(window.logits[None], FRAME.picture, mode="bilinear", align_corners=False)
    scores = window.probabilities.T @ masks[0].sigmoid_().flatten(1)
    return scores.unflatten(1, FRAME.picture).max(0)


def natively(window: MaskWindow, at_image: bool) -> Tensor:
    return decide_masks([window], FRAME, at_image).labels


@pytest.mark.parametrize("layer", ["original", "image"])
@pytest.mark.parametrize("kind", ["torch", "native"])
def test_decide_masks(benchmark: BenchmarkFixture, kind: str, layer: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    probabilities = torch.randn(QUERIES, CLASSES + 1).softmax(-1)[:, :-1].contiguous()
    window = MaskWindow(0, 0, *FRAME.padded, probabilities, 6 * torch.randn(QUERIES, *CELLS))
    run = {"torch": in_torch, "native": natively}[kind]
    with torch.no_grad():
        run(window, layer == "image")
        benchmark(run, window, layer == "image")
