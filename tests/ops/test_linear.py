"""ops.linear against dense torch in double precision, over everything that may vary."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import sparse_ovs
from sparse_ovs import ops
from sparse_ovs.formats import PackedWeight, fit_mask, pack
from support.examples import examples
from support.oracles import assert_as_exact_as_torch, linear, linear_fp64, random_sparse_weight
from support.problems import run_linear


def assert_right(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    relu: bool = False,
    packed: PackedWeight | None = None,
) -> Tensor:
    """Our result, after it was found as exact as torch's."""
    ours = run_linear(x, weight, bias, relu=relu, packed=packed)
    terms = linear(x.abs(), weight.abs(), None if bias is None else bias.abs())
    assert_as_exact_as_torch(
        ours,
        linear_fp64(x, weight, bias, relu=relu),
        linear(x, weight, bias, relu=relu),
        scale=float(terms.max()),
    )
    return ours


@settings(max_examples=examples(200))
@given(
    lead=st.lists(st.integers(1, 5), max_size=3),
    in_features=st.integers(1, 70),
    out_features=st.integers(1, 40),
    density=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    pattern=st.sampled_from(["unstructured", "block4x1", "2:4", "channel"]),
    block_rows=st.sampled_from([None, 1, 4]),
    has_bias=st.booleans(),
    relu=st.booleans(),
    threads=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_any_linear_layer_is_as_exact_as_torch(
    lead: list[int],
    in_features: int,
    out_features: int,
    density: float,
    pattern: str,
    block_rows: int | None,
    has_bias: bool,
    relu: bool,
    threads: int,
    seed: int,
) -> None:
    sparse_ovs.set_num_threads(threads)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*lead, in_features, generator=generator)
    weight = random_sparse_weight((out_features, in_features), density, pattern, seed)
    bias = torch.randn(out_features, generator=generator) if has_bias else None
    assert_right(x, weight, bias, relu=relu, packed=pack(weight, block_rows=block_rows))


@pytest.mark.parametrize("tokens", [1, 2, 15, 16, 17, 49, 50, 197, 200])
@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
def test_tails_of_tokens(tokens: int, pattern: str) -> None:
    weight = random_sparse_weight((35, 33), 0.2, pattern)
    assert_right(torch.randn(tokens, 33), weight, torch.randn(35))


@settings(max_examples=examples(40))
@given(tokens=st.integers(1, 300), seed=st.integers(0, 100))
def test_every_thread_count_gives_the_same_bits(tokens: int, seed: int) -> None:
    weight = random_sparse_weight((40, 64), 0.2, seed=seed)
    x = torch.randn(tokens, 64, generator=torch.Generator().manual_seed(seed))
    results = []
    for threads in (1, 2, 3, 4):
        sparse_ovs.set_num_threads(threads)
        results.append(run_linear(x, weight))
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_a_token_has_the_same_bits_alone_and_among_others() -> None:
    weight = random_sparse_weight((40, 64), 0.2)
    x = torch.randn(65, 64)
    together = run_linear(x, weight)
    assert all(torch.equal(run_linear(x[i], weight), together[i]) for i in (0, 17, 64))


def test_a_single_vector() -> None:
    assert_right(torch.randn(33), random_sparse_weight((9, 33), 0.5), torch.randn(9))


@pytest.mark.parametrize("shape", [(0, 33), (2, 0, 33)])
def test_no_tokens_give_no_outputs(shape: tuple[int, ...]) -> None:
    y = run_linear(torch.randn(shape), random_sparse_weight((9, 33), 0.5))
    assert y.shape == (*shape[:-1], 9)


@pytest.mark.parametrize("block_rows", [1, 4])
def test_a_row_without_nonzeros_gives_the_bias(block_rows: int) -> None:
    weight = random_sparse_weight((9, 33), 0.5)
    weight[3] = 0.0
    bias = torch.randn(9)
    y = assert_right(torch.randn(5, 33), weight, bias, packed=pack(weight, block_rows=block_rows))
    assert torch.equal(y[:, 3], bias[3].expand(5))


@pytest.mark.parametrize("has_bias", [False, True])
def test_a_weight_without_nonzeros(has_bias: bool) -> None:
    assert_right(torch.randn(5, 33), torch.zeros(9, 33), torch.randn(9) if has_bias else None)


def test_a_fully_dense_weight() -> None:
    assert_right(torch.randn(5, 33), torch.randn(10, 33), torch.randn(10))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_inputs_under_a_skipped_zero_do_not_spread(value: float) -> None:
    weight = random_sparse_weight((9, 33), 0.5)
    weight[:, 7] = 0.0
    x = torch.randn(5, 33)
    clean = run_linear(x, weight)
    x[:, 7] = value
    assert torch.equal(run_linear(x, weight), clean)


@pytest.mark.parametrize("features", [65_535, 65_536, 65_537])
def test_features_past_the_reach_of_sixteen_bits(features: int) -> None:
    weight = torch.zeros(3, features)
    weight[0, 0], weight[1, 40_000], weight[2, features - 1] = 1.5, 2.5, 3.5
    assert_right(torch.randn(3, features), weight)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.transpose(0, 1),
        lambda x: x[:, ::2],
        lambda x: x[:1].expand(3, -1, -1),
        lambda x: x.permute(1, 0, 2),
        lambda x: x[..., None, :, :],
    ],
)
def test_inputs_of_any_strides(view: object) -> None:
    x = view(torch.randn(4, 6, 33))  # type: ignore[operator]
    y = assert_right(x, random_sparse_weight((9, 33), 0.3), torch.randn(9))
    assert y.is_contiguous()


def test_an_input_whose_features_are_strided() -> None:
    x = torch.randn(33, 5).T
    assert not x.is_contiguous()
    assert_right(x, random_sparse_weight((9, 33), 0.3))


def test_outputs_of_more_than_a_megabyte() -> None:
    assert_right(torch.randn(3000, 8), random_sparse_weight((100, 8), 0.3), torch.randn(100))


@pytest.mark.parametrize("shape", [(5, 32), (5, 34), (33, 5), ()])
def test_an_input_of_other_features_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected an input \(\.\.\., 33\), got \("):
        run_linear(torch.randn(shape), random_sparse_weight((9, 33), 0.3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_an_input_of_another_dtype_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=f"expected a float32 input, got {dtype}"):
        run_linear(torch.zeros(5, 33, dtype=dtype), random_sparse_weight((9, 33), 0.3))


def test_a_bias_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a bias of shape \(9,\), got \(10,\)"):
        run_linear(torch.randn(5, 33), random_sparse_weight((9, 33), 0.3), torch.randn(10))


def test_reasons_are_those_of_a_convolution() -> None:
    device = torch.device("cpu")
    shape = (9, 33)
    mask = torch.ones(shape, dtype=torch.bool)

    def reasons(dtype: torch.dtype) -> list[str]:
        return ops.linear_unsupported(
            dtype=dtype, device=device, weight_shape=shape, fit=lambda: fit_mask(mask, ops.BLOCKS)
        )

    assert reasons(torch.bfloat16) == ["bfloat16 has no CPU kernel"]
    assert not reasons(torch.float32)
