"""L1: what the compiler made of the kernels gives right numbers, without a race or stray access."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is not installed")

from gpu.kernels.bsr_problems import (
    ConvProblem,
    LinearProblem,
    PoolProblem,
    Variant,
    assert_close,
    assert_exact,
    integers,
    normals,
)
from sparse_ovs.kernels.tiles import BLOCKS

if TYPE_CHECKING:
    from gpu.emulation.triton_driver import EmulatedGpu

HALF, BFLOAT, SINGLE = torch.float16, torch.bfloat16, torch.float32


def variants(*quick: Variant) -> list[object]:
    """All, those but the quick ones behind the slow marker: a variant takes up to half a minute."""
    every = [Variant(block, dtype) for block in BLOCKS for dtype in (HALF, BFLOAT, SINGLE)]
    every += [Variant(block, SINGLE, "ieee") for block in BLOCKS if block != (64, 64)]
    return [
        pytest.param(variant, id=str(variant), marks=() if variant in quick else pytest.mark.slow)
        for variant in every
    ]


@pytest.mark.parametrize("variant", variants(Variant((64, 64), HALF), Variant((32, 32), SINGLE)))
def test_a_compiled_linear_is_right(variant: Variant, emulated_gpu: EmulatedGpu) -> None:
    # Channels as encoders have them; rows end in the middle of a tile.
    problem = LinearProblem(rows=150, out_features=128, in_features=192)
    for result in problem.results(variant, integers):
        assert_exact(result)
    for result in problem.results(variant, normals):
        assert_close(result, variant.tolerance)


@pytest.mark.parametrize("variant", variants(Variant((32, 32), HALF)))
def test_a_compiled_conv_is_right(variant: Variant, emulated_gpu: EmulatedGpu) -> None:
    problem = ConvProblem(2, out_channels=128, in_channels=64, size=(7, 11), density=0.3)
    for result in problem.results(variant, integers):
        assert_exact(result)
    for result in problem.results(variant, normals):
        assert_close(result, variant.tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("variant", variants())
def test_a_compiled_linear_of_odd_shape_is_right(
    variant: Variant, emulated_gpu: EmulatedGpu
) -> None:
    problem = LinearProblem(rows=70, out_features=75, in_features=90, activation="relu", gap=3)
    for result in problem.results(variant, integers):
        assert_exact(result)


@pytest.mark.slow
@pytest.mark.parametrize("variant", variants())
def test_a_compiled_conv_of_odd_shape_is_right(variant: Variant, emulated_gpu: EmulatedGpu) -> None:
    problem = ConvProblem(
        batch=2,
        out_channels=75,
        in_channels=90,
        size=(9, 11),
        stride=(2, 1),
        padding=(1, 2),
        dilation=(1, 2),
        activation="relu",
    )
    for result in problem.results(variant, integers):
        assert_exact(result)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [Variant((32, 32), dtype) for dtype in (HALF, BFLOAT, SINGLE)])
def test_a_compiled_gelu_is_right(variant: Variant, emulated_gpu: EmulatedGpu) -> None:
    forward = next(LinearProblem(70, 64, 64, activation="gelu").results(variant, normals))
    assert_close(forward, variant.tolerance)


@pytest.mark.parametrize(
    "dtype", [HALF, *(pytest.param(d, marks=pytest.mark.slow) for d in (BFLOAT, SINGLE))]
)
def test_compiled_pooling_is_right(dtype: torch.dtype, emulated_gpu: EmulatedGpu) -> None:
    tolerance = Variant((16, 16), dtype, "ieee").tolerance
    for result in PoolProblem(2, 80, (7, 9)).results(dtype, normals):
        assert_close(result, tolerance)
