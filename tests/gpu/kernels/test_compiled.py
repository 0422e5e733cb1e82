"""L2: the machine code fits every GPU, spills nothing, and multiplies on the tensor cores."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is not installed")

from gpu.emulation.architectures import ARCHITECTURES
from gpu.kernels.bsr_problems import ConvProblem, LinearProblem, PoolProblem, Variant, normals
from sparse_ovs.kernels.tiles import BLOCKS

if TYPE_CHECKING:
    from gpu.emulation.aot import Compiled

    Compiling = Callable[[int], AbstractContextManager[list[Compiled]]]

HALF, BFLOAT, SINGLE = torch.float16, torch.bfloat16, torch.float32
TENSOR_CORE = [Variant(block, dtype) for block in BLOCKS for dtype in (HALF, BFLOAT, SINGLE)]
IEEE = [Variant(block, SINGLE, "ieee") for block in BLOCKS if block != (64, 64)]
# Channels as encoders have them: strides are known to be divisible by 16.
PROBLEMS = {
    "linear": LinearProblem(rows=70, out_features=128, in_features=192),
    "conv2d": ConvProblem(2, out_channels=128, in_channels=64, size=(7, 11)),
}


# (kernel, variant, architecture) that copies 4 bytes at a time: to be mended.
SMALL_COPIES = {
    ("weight_gradient_kernel", str(Variant((64, 64), SINGLE)), arch) for arch in (90, 100)
}


def cases() -> list[object]:
    """Every variant on every architecture, most behind the slow marker: a case takes seconds."""
    return [
        pytest.param(
            variant,
            arch,
            id=f"{variant}-sm_{arch}",
            marks=() if variant.block == (64, 64) and quick else pytest.mark.slow,
        )
        for variant in TENSOR_CORE + IEEE
        for arch in ARCHITECTURES
        for quick in [variant.dtype == HALF and arch in (80, 90)]
    ]


@pytest.mark.parametrize("operation", PROBLEMS)
@pytest.mark.parametrize(("variant", "arch"), cases())
def test_the_machine_code_is_what_was_wanted(
    operation: str, variant: Variant, arch: int, compiling: Compiling
) -> None:
    with compiling(arch) as compiled:
        list(PROBLEMS[operation].results(variant, normals))  # compiles, runs nothing
    assert len(compiled) == 3
    for kernel in compiled:
        assert kernel.code.spills == 0, kernel.name
        assert kernel.code.local_bytes == 0, kernel.name
        assert kernel.shared_bytes <= ARCHITECTURES[arch].shared_bytes_a_block, kernel.name
        loop = kernel.code.main_loop
        small = (kernel.name, str(variant), arch) in SMALL_COPIES
        assert bool(loop.count("LDGSTS", "128")) != small, kernel.name
        assert bool(loop.tensor_core) == (variant.precision == "tf32"), kernel.name


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [HALF, BFLOAT, SINGLE], ids=str)
def test_pooling_loads_and_stores_16_bytes(
    dtype: torch.dtype, arch: int, compiling: Compiling
) -> None:
    with compiling(arch) as compiled:
        list(PoolProblem(2, 64, (8, 8)).results(dtype, normals))
    for kernel in compiled:
        assert kernel.code.spills == 0, kernel.name
        assert kernel.code.body.count("LDG", "128") > 0, kernel.name
        assert kernel.code.body.count("STG", "128") > 0, kernel.name
