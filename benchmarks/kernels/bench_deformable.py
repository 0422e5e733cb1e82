"""One deformable attention of a pixel decoder on an 800 x 1216 picture, native and in torch."""

import os

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from sparse_ovs import ops

# Maps of strides 32, 16 and 8; every cell of them is a query.
SHAPES = [(25, 38), (50, 76), (100, 152)]
HEADS, DEPTH, POINTS = 8, 32, 4
SPREAD = 2.0  # standard deviation of offsets, in cells


def arguments() -> tuple[Tensor, list[tuple[int, int]], Tensor, Tensor]:
    """Points lie around their queries in all maps, as a trained module's do."""
    centres = torch.cat(
        [
            torch.cartesian_prod((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w).flip(-1)
            for h, w in SHAPES
        ]
    )
    cells = len(centres)
    sizes = torch.tensor([(w, h) for h, w in SHAPES])
    offsets = SPREAD * torch.randn(1, cells, HEADS, len(SHAPES), POINTS, 2)
    locations = centres[None, :, None, None, None] + offsets / sizes[:, None]
    weights = torch.randn(1, cells, HEADS, len(SHAPES) * POINTS).softmax(-1)
    values = torch.randn(1, cells, HEADS, DEPTH)
    return values, SHAPES, locations, weights.unflatten(-1, (len(SHAPES), POINTS))


@pytest.mark.parametrize("layer", ["pixel decoder"])
@pytest.mark.parametrize("kind", ["grid_sample", "grid_sample compiled", "native"])
def test_deformable_attention(benchmark: BenchmarkFixture, kind: str, layer: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    run = {
        "grid_sample": ops.deformable_attention_reference,
        "grid_sample compiled": torch.compile(ops.deformable_attention_reference),
        "native": ops.deformable_attention,
    }[kind]
    given = arguments()
    with torch.no_grad():
        run(*given)  # compiles
        benchmark(run, *given)
