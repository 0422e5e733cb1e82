"""L0: the algorithms, interpreted on CPU tensors with every access checked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("triton", reason="needs triton, which is not installed")

from gpu.emulation.interpreter.probe import Probe
from gpu.emulation.interpreter.session import interpreting
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
from sparse_ovs.kernels.tiles import BLOCKS
from support.examples import examples

SMALL = [Variant((16, 16), dtype) for dtype in DTYPES]

# Below, at and above the tiles, in every dimension.
LINEARS = [
    LinearProblem(rows=70, out_features=72, in_features=90, gap=3),
    LinearProblem(rows=128, out_features=64, in_features=64, with_bias=False),
    LinearProblem(rows=1, out_features=1, in_features=1, density=1, with_residual=False),
]
CONVS = [
    ConvProblem(batch=2, out_channels=40, in_channels=24, size=(7, 9)),
    ConvProblem(
        batch=1,
        out_channels=17,
        in_channels=33,
        size=(9, 11),
        kernel_size=(3, 2),
        stride=(2, 1),
        padding=(0, 2),
        dilation=(2, 1),
        with_bias=False,
    ),
    ConvProblem(
        batch=1,
        out_channels=64,
        in_channels=64,
        size=(8, 8),
        kernel_size=(1, 1),
        padding=(0, 0),
        with_residual=False,
    ),
    ConvProblem(batch=1, out_channels=20, in_channels=5, size=(6, 8), stride=(2, 2)),
    ConvProblem(batch=3, out_channels=16, in_channels=16, size=(1, 1), density=1),
]


def linear_claims(variant: Variant) -> Iterator[Claim]:
    return (Claim("bsr_linear", variant.of(direction), "L0") for direction in DIRECTIONS)


def conv_claims(variant: Variant) -> Iterator[Claim]:
    return (Claim("bsr_conv2d", variant.of(direction), "L0") for direction in DIRECTIONS)


@proves(linear_claims)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_bsr_linear_of_whole_numbers_is_exact(variant: Variant, interpreter: Probe) -> None:
    for result in LINEARS[0].results(variant, integers):
        assert_exact(result)


@proves(conv_claims)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_bsr_conv2d_of_whole_numbers_is_exact(variant: Variant, interpreter: Probe) -> None:
    for result in CONVS[0].results(variant, integers):
        assert_exact(result)


@pytest.mark.parametrize("problem", LINEARS[1:], ids=str)
@pytest.mark.parametrize("variant", SMALL, ids=str)
def test_a_linear_of_any_shape_is_exact(
    problem: LinearProblem, variant: Variant, interpreter: Probe
) -> None:
    for result in problem.results(variant, integers):
        assert_exact(result)


@pytest.mark.parametrize("problem", CONVS[1:], ids=str)
@pytest.mark.parametrize("variant", SMALL, ids=str)
def test_a_conv_of_any_geometry_is_exact(
    problem: ConvProblem, variant: Variant, interpreter: Probe
) -> None:
    for result in problem.results(variant, integers):
        assert_exact(result)


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.integers(1, 140),
    out_features=st.integers(1, 40),
    in_features=st.integers(1, 40),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    activation=st.sampled_from([None, "relu"]),
    block=st.sampled_from(BLOCKS),
    gap=st.integers(0, 2),
)
def test_any_linear_is_exact(
    rows: int,
    out_features: int,
    in_features: int,
    density: float,
    activation: str | None,
    block: tuple[int, int],
    gap: int,
) -> None:
    problem = LinearProblem(rows, out_features, in_features, density, activation, gap=gap)
    with interpreting():
        for result in problem.results(Variant(block, torch.float16), integers):
            assert_exact(result)


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.too_slow])
@given(
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    kernel_size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.integers(1, 2),
    block=st.sampled_from([(16, 16), (32, 32)]),
)
def test_any_conv_is_exact(
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: int,
    block: tuple[int, int],
) -> None:
    # What the kernel spans must fit into the padded input.
    size = (max(size[0], 5), max(size[1], 5))
    problem = ConvProblem(
        1, *channels, size, kernel_size, stride, padding, (dilation, dilation), activation="relu"
    )
    with interpreting():
        for result in problem.results(Variant(block, torch.float16), integers):
            assert_exact(result)


@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
@pytest.mark.parametrize("variant", SMALL, ids=str)
def test_rounding_stays_within_tolerance(
    variant: Variant, activation: str | None, interpreter: Probe
) -> None:
    problem = LinearProblem(50, 40, 64, activation=activation)
    for result in problem.results(variant, normals):
        assert_close(result, variant.tolerance)
    conv = ConvProblem(1, 24, 16, (5, 6), activation=activation)
    for result in conv.results(variant, normals):
        assert_close(result, variant.tolerance)


def test_float32_is_exact_to_its_own_roundings_on_request(interpreter: Probe) -> None:
    variant = Variant((32, 32), torch.float32, "ieee")
    for result in LinearProblem(50, 40, 64, activation="gelu").results(variant, normals):
        assert_close(result, variant.tolerance)


def test_a_weight_without_blocks_leaves_bias_and_residual(interpreter: Probe) -> None:
    for result in LinearProblem(20, 20, 20, density=0.0).results(SMALL[0], integers):
        assert_exact(result)
    for result in ConvProblem(1, 20, 20, (4, 4), density=0.0).results(SMALL[0], integers):
        assert_exact(result)


def test_no_rows_give_no_rows(interpreter: Probe) -> None:
    for result in LinearProblem(0, 20, 20).results(SMALL[0], integers):
        assert result.found.shape == result.fp64.shape
        assert not result.found.any()


def test_many_rows_are_summed_in_parts(interpreter: Probe) -> None:
    for result in LinearProblem(1200, 16, 16, density=1.0).results(SMALL[0], integers):
        assert_exact(result)
    for result in ConvProblem(1, 16, 16, (34, 36), (1, 1), padding=(0, 0)).results(
        SMALL[0], integers
    ):
        assert_exact(result)


@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
def test_nan_is_not_hidden_by_an_activation(activation: str | None, interpreter: Probe) -> None:
    def with_nan(*shape: int) -> torch.Tensor:
        numbers = normals(*shape)
        numbers[0, ...] = torch.nan if shape == (5, 16) else numbers[0, ...]
        return numbers

    problem = LinearProblem(5, 16, 16, density=1.0, activation=activation, with_residual=False)
    forward = next(problem.results(SMALL[0], with_nan))
    assert forward.found[0].isnan().all()
    assert not forward.found[1:].isnan().any()


def pool_claims(problem: PoolProblem, dtype: torch.dtype) -> Iterator[Claim]:
    return (Claim("avg_pool2d", f"{d} {dtype_name(dtype)}", "L0") for d in DIRECTIONS[:2])


@proves(pool_claims)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "problem",
    [PoolProblem(2, 70, (7, 9)), PoolProblem(1, 3, (2, 2)), PoolProblem(1, 64, (9, 10), 3)],
    ids=str,
)
def test_avg_pool2d_is_that_of_torch(
    problem: PoolProblem, dtype: torch.dtype, interpreter: Probe
) -> None:
    tolerance = Variant((16, 16), dtype, "ieee").tolerance
    for result in problem.results(dtype, normals):
        assert_close(result, tolerance)
