"""L2: the machine code fits every GPU, spills nothing, and multiplies on the tensor cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is not installed")

from gpu.emulation.architectures import ARCHITECTURES
from gpu.emulation.budgets import Budgets
from gpu.evidence.changes import rests_on
from gpu.evidence.claims import Claim, proves
from gpu.evidence.shipped import dtype_name
from gpu.kernels.bsr_problems import (
    DIRECTIONS,
    DTYPES,
    VARIANTS,
    ConvProblem,
    LinearProblem,
    PoolProblem,
    Variant,
    normals,
)

if TYPE_CHECKING:
    from gpu.emulation.aot import Compiled

    Compiling = Callable[[int], AbstractContextManager[list[Compiled]]]

pytestmark = rests_on("avg_pool2d", "bsr_conv2d", "bsr_linear")

# Channels as encoders have them: strides are known to be divisible by 16.
PROBLEMS = {
    "bsr_linear": LinearProblem(rows=70, out_features=128, in_features=192),
    "bsr_conv2d": ConvProblem(2, out_channels=128, in_channels=64, size=(7, 11)),
}


def cases() -> list[object]:
    """Every variant on every architecture, most behind the slow marker: a case takes seconds."""
    return [
        pytest.param(
            variant,
            arch,
            id=f"{variant}-sm_{arch}",
            marks=() if quick else pytest.mark.slow,
        )
        for variant in VARIANTS
        for arch in ARCHITECTURES
        for quick in [variant == Variant((64, 64), torch.float16) and arch in (80, 90)]
    ]


def claims(operation: str, variant: Variant, arch: int) -> Iterator[Claim]:
    for direction in DIRECTIONS:
        yield Claim(operation, variant.of(direction), "L2", arch)


@proves(claims)
@pytest.mark.parametrize("operation", PROBLEMS)
@pytest.mark.parametrize(("variant", "arch"), cases())
def test_the_machine_code_is_what_was_wanted(
    operation: str, variant: Variant, arch: int, compiling: Compiling, budgets: Budgets
) -> None:
    with compiling(arch) as compiled:
        list(PROBLEMS[operation].results(variant, normals))  # compiles, runs nothing
    for direction, kernel in zip(DIRECTIONS, compiled, strict=True):
        assert kernel.name == f"{direction}_kernel"
        assert kernel.code.spills == 0, kernel.name
        assert kernel.code.local_bytes == 0, kernel.name
        assert kernel.shared_bytes <= ARCHITECTURES[arch].shared_bytes_a_block, kernel.name
        loop = kernel.code.main_loop
        assert loop.count("LDGSTS", "128") > 0, kernel.name
        assert bool(loop.tensor_core) == (variant.precision == "tf32"), kernel.name
        instructions = [f"{name} in the loop" for name in (*loop.tensor_core, "LDGSTS.128")]
        figures = kernel.figures() | {"loop_instructions": len(loop)}
        budgets.check(f"{operation} {variant.of(direction)} sm_{arch}", figures, instructions)


def pool_claims(dtype: torch.dtype, arch: int) -> Iterator[Claim]:
    for direction in DIRECTIONS[:2]:
        yield Claim("avg_pool2d", f"{direction} {dtype_name(dtype)}", "L2", arch)


@pytest.mark.slow
@proves(pool_claims)
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
def test_avg_pool2d_loads_and_stores_16_bytes(
    dtype: torch.dtype, arch: int, compiling: Compiling, budgets: Budgets
) -> None:
    with compiling(arch) as compiled:
        list(PoolProblem(2, 64, (8, 8)).results(dtype, normals))
    for direction, kernel in zip(DIRECTIONS[:2], compiled, strict=True):
        assert kernel.code.spills == 0, kernel.name
        assert kernel.code.body.count("LDG", "128") > 0, kernel.name
        assert kernel.code.body.count("STG", "128") > 0, kernel.name
        name = f"avg_pool2d {direction} {dtype_name(dtype)} sm_{arch}"
        budgets.check(name, kernel.figures(), ["LDG.128", "STG.128"])
