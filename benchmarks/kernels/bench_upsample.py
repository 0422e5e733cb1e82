"""A joint of a feature pyramid at 800 x 1216: upsampling and add, native and in torch."""

import os

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.engine.graph import Upsample2x
from sparse_ovs.engine.records import make_program
from sparse_ovs.ops.layout import empty_output

CHANNELS = 256
# Of the coarse map: strides 8, 16 and 32.
SIZES = {"to stride 4": (100, 152), "to stride 8": (50, 76), "to stride 16": (25, 38)}
FORMATS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))


def in_torch(coarse: Tensor, fine: Tensor) -> Tensor:
    return fine + F.interpolate(coarse, scale_factor=2, mode="nearest")


class Native:
    """A plan of the one step."""

    def __init__(self, coarse: Tensor, fine: Tensor, layout: str) -> None:
        node = Upsample2x("joint", "coarse", residual="fine")
        channels = {"coarse": coarse.shape[1], "fine": fine.shape[1]}
        program = make_program(channels, [node], ["joint"], {}, {})
        lies = getattr(_native, layout)
        given = [(tuple(x.shape), lies) for x in (coarse, fine)]
        self.plan, self.format = program.plan(given, [lies], THREADS), FORMATS[layout]

    def __call__(self, coarse: Tensor, fine: Tensor) -> Tensor:
        made = empty_output(tuple(fine.shape), self.format)
        self.plan.run_many([coarse.data_ptr(), fine.data_ptr()], [made.data_ptr()], THREADS)
        return made


@pytest.mark.parametrize("level", SIZES)
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("kind", ["torch", "torch compiled", "native"])
def test_joint(benchmark: BenchmarkFixture, kind: str, layout: str, level: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    height, width = SIZES[level]
    coarse, fine = (
        torch.randn(1, CHANNELS, h, w).contiguous(memory_format=FORMATS[layout])
        for h, w in ((height, width), (2 * height, 2 * width))
    )
    run = {
        "torch": lambda: in_torch,
        "torch compiled": lambda: torch.compile(in_torch),
        "native": lambda: Native(coarse, fine, layout),
    }[kind]()
    with torch.no_grad():
        assert torch.equal(run(coarse, fine), in_torch(coarse, fine))  # compiles
        benchmark(run, coarse, fine)
