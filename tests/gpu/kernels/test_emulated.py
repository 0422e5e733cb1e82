"""L1: what the compiler made of the kernels gives right numbers, without a race or stray access.
L3: exact counts of what it did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is not installed")

from gpu.emulation.budgets import Budgets
from gpu.emulation.measures import measures
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
    assert_close,
    assert_exact,
    integers,
    normals,
)

if TYPE_CHECKING:
    from gpu.emulation.triton_driver import EmulatedGpu

pytestmark = rests_on("avg_pool2d", "bsr_conv2d", "bsr_linear")

HALF = torch.float16
# Channels as encoders have them; rows end in the middle of a tile.
PROBLEMS = {
    "bsr_linear": LinearProblem(rows=150, out_features=128, in_features=192),
    "bsr_conv2d": ConvProblem(2, out_channels=128, in_channels=64, size=(7, 11), density=0.3),
}
ODD = {
    "bsr_linear": LinearProblem(rows=70, out_features=75, in_features=90, activation="relu", gap=3),
    "bsr_conv2d": ConvProblem(
        batch=2,
        out_channels=75,
        in_channels=90,
        size=(9, 11),
        stride=(2, 1),
        padding=(1, 2),
        dilation=(1, 2),
        activation="relu",
    ),
}
EMULATED = (80, 90)


@pytest.mark.parametrize(
    ("operation", "variant"),
    [
        ("bsr_linear", Variant((64, 64), HALF)),
        ("bsr_conv2d", Variant((32, 32), torch.float32)),
    ],
    ids=str,
)
def test_common_variants_are_right(
    operation: str, variant: Variant, emulated_gpu: EmulatedGpu, budgets: Budgets
) -> None:
    assert_right_and_no_dearer(operation, variant, emulated_gpu, budgets)


def claims(operation: str, variant: Variant, emulated_gpu: int) -> Iterator[Claim]:
    for direction in DIRECTIONS:
        for rung in ("L1", "L3"):
            yield Claim(operation, variant.of(direction), rung, emulated_gpu)


@pytest.mark.slow
@proves(claims)
@pytest.mark.parametrize("operation", PROBLEMS)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_variant_is_right_and_costs_no_more_than_it_did(
    operation: str, variant: Variant, emulated_gpu: EmulatedGpu, budgets: Budgets
) -> None:
    assert_right_and_no_dearer(operation, variant, emulated_gpu, budgets)
    for result in PROBLEMS[operation].results(variant, normals):
        assert_close(result, variant.tolerance)
    for result in ODD[operation].results(variant, integers):
        assert_exact(result)


def assert_right_and_no_dearer(
    operation: str, variant: Variant, gpu: EmulatedGpu, budgets: Budgets
) -> None:
    """Values to the bit, and the counts of every launch within their budgets."""
    for result in PROBLEMS[operation].results(variant, integers):
        assert_exact(result)
        if result.useful_flops:
            launch = gpu.launches[-1]
            direction = launch.name.removesuffix("_kernel")
            name = f"{operation} {variant.of(direction)} counts sm_{gpu.arch}"
            budgets.check(name, measures(launch.counters, result.useful_flops))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
def test_a_compiled_gelu_is_right(dtype: torch.dtype, emulated_gpu: EmulatedGpu) -> None:
    variant = Variant((32, 32), dtype)
    forward = next(LinearProblem(70, 64, 64, activation="gelu").results(variant, normals))
    assert_close(forward, variant.tolerance)


def pool_claims(dtype: torch.dtype, emulated_gpu: int) -> Iterator[Claim]:
    for direction in DIRECTIONS[:2]:
        for rung in ("L1", "L3"):
            yield Claim("avg_pool2d", f"{direction} {dtype_name(dtype)}", rung, emulated_gpu)


@proves(pool_claims)
@pytest.mark.parametrize(
    "dtype",
    [pytest.param(d, marks=() if d == HALF else pytest.mark.slow) for d in DTYPES],
    ids=dtype_name,
)
def test_compiled_avg_pool2d_is_right(
    dtype: torch.dtype, emulated_gpu: EmulatedGpu, budgets: Budgets
) -> None:
    tolerance = Variant((16, 16), dtype, "ieee").tolerance
    for result in PoolProblem(2, 80, (7, 9)).results(dtype, normals):
        assert_close(result, tolerance)
        launch = emulated_gpu.launches[-1]
        direction = launch.name.removesuffix("_kernel")
        name = f"avg_pool2d {direction} {dtype_name(dtype)} counts sm_{emulated_gpu.arch}"
        budgets.check(name, measures(launch.counters, result.useful_flops))
