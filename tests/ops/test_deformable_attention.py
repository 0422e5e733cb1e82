"""sparse_ovs::deformable_attention against loops in double precision."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import sparse_ovs
from sparse_ovs import ops
from support.examples import examples
from support.oracles import assert_as_exact_as_torch

SHAPES = [(3, 5), (1, 4), (6, 2)]


def tensors(
    n: int = 2,
    queries: int = 5,
    heads: int = 2,
    depth: int = 6,
    points: int = 3,
    shapes: list[tuple[int, int]] = SHAPES,
) -> tuple[Tensor, Tensor, Tensor]:
    """Values, locations from one map's size left of a map to one right of it, and weights."""
    values = torch.randn(n, sum(h * w for h, w in shapes), heads, depth)
    locations = 3.0 * torch.rand(n, queries, heads, len(shapes), points, 2) - 1.0
    weights = torch.randn(n, queries, heads, len(shapes) * points).softmax(-1)
    return values, locations, weights.unflatten(-1, (len(shapes), points))


def loops(
    values: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """Every cell within one of a point counts by its nearness: (1 - |dx|) * (1 - |dy|)."""
    v, at, share = (t.detach().double().numpy() for t in (values, locations, weights))
    n, queries, heads, _, points = share.shape
    out = np.zeros((n, queries, heads, v.shape[3]))
    for i, q, h, p in product(range(n), range(queries), range(heads), range(points)):
        first = 0
        for level, (rows, columns) in enumerate(shapes):
            x, y = at[i, q, h, level, p] * (columns, rows) - 0.5
            near_rows = np.maximum(0.0, 1.0 - np.abs(np.arange(rows) - y))
            near_columns = np.maximum(0.0, 1.0 - np.abs(np.arange(columns) - x))
            cells = v[i, first : first + rows * columns, h].reshape(rows, columns, -1)
            sample = np.einsum("y,x,yxd->d", near_rows, near_columns, cells)
            out[i, q, h] += share[i, q, h, level, p] * sample
            first += rows * columns
    return torch.from_numpy(out).flatten(2)


def assert_right(
    values: Tensor, shapes: list[tuple[int, int]], at: Tensor, weights: Tensor
) -> None:
    ours = ops.deformable_attention(values, shapes, at, weights)
    single = ops.deformable_attention_reference(values, shapes, at, weights)
    assert_as_exact_as_torch(ours, loops(values, shapes, at, weights), single)


@settings(max_examples=examples(40))
@given(
    n=st.sampled_from([1, 2]),
    queries=st.sampled_from([1, 3, 70]),
    heads=st.sampled_from([1, 3]),
    depth=st.sampled_from([1, 3, 8, 16, 31, 32, 40]),
    points=st.sampled_from([1, 4]),
    shapes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=3),
    threads=st.sampled_from([1, 2]),
)
def test_the_kernel_is_as_exact_as_torch(
    n: int,
    queries: int,
    heads: int,
    depth: int,
    points: int,
    shapes: list[tuple[int, int]],
    threads: int,
) -> None:
    sparse_ovs.set_num_threads(threads)
    values, locations, weights = tensors(n, queries, heads, depth, points, shapes)
    assert_right(values, shapes, locations, weights)


def test_the_torch_form_is_that_of_the_loops() -> None:
    values, locations, weights = (t.double() for t in tensors())
    found = ops.deformable_attention_reference(values, SHAPES, locations, weights)
    assert torch.allclose(found, loops(values, SHAPES, locations, weights), atol=1e-12)


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0, 1.0 / 3, 0.5 / 3, 1e6, -1e6, 3e38])
def test_borders_centres_and_far_places_are_right(place: float) -> None:
    values, locations, weights = tensors()
    assert_right(values, SHAPES, torch.full_like(locations, place), weights)
    locations[..., 0] = place
    assert_right(values, SHAPES, locations, weights)


def test_a_point_on_a_cell_s_centre_gives_that_cell() -> None:
    values = torch.arange(12.0).reshape(1, 12, 1, 1)
    centre = torch.tensor([2.5 / 4, 1.5 / 3]).reshape(1, 1, 1, 1, 1, 2)
    found = ops.deformable_attention(values, [(3, 4)], centre, torch.ones(1, 1, 1, 1, 1))
    assert found.item() == 1 * 4 + 2


@pytest.mark.parametrize("nowhere", [math.nan, math.inf, -math.inf])
def test_a_location_that_is_not_finite_gives_nan_to_its_query_and_head(nowhere: float) -> None:
    values, locations, weights = tensors(n=1)
    locations[0, 2, 1, 1, 0, 1] = nowhere
    for run in (ops.deformable_attention, ops.deformable_attention_reference):
        found = run(values, SHAPES, locations, weights).unflatten(-1, (2, -1)).isnan()
        assert found[0, 2, 1].all()
        assert found.sum() == found[0, 2, 1].sum()


def test_bits_do_not_depend_on_threads() -> None:
    arguments = tensors(queries=300)
    found = []
    for threads in (1, 2, 5):
        sparse_ovs.set_num_threads(threads)
        found.append(ops.deformable_attention(arguments[0], SHAPES, *arguments[1:]))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_strided_tensors_are_read_as_they_are() -> None:
    values, locations, weights = tensors()
    expected = ops.deformable_attention(values, SHAPES, locations, weights)
    values = values.transpose(1, 2).contiguous().transpose(1, 2)
    locations = locations.flip(-1).contiguous().flip(-1).permute(*range(6))
    weights = weights.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(ops.deformable_attention(values, SHAPES, locations, weights), expected)


def test_gradients_are_those_of_the_definition() -> None:
    leaves = [t.double().requires_grad_() for t in tensors(n=1, queries=2, depth=2, points=2)]
    assert torch.autograd.gradcheck(
        lambda values, at, weights: ops.deformable_attention(values, SHAPES, at, weights), leaves
    )


def test_a_gradient_leaves_the_result_as_it_is() -> None:
    values, locations, weights = tensors()
    plain = ops.deformable_attention(values, SHAPES, locations, weights)
    tracked = ops.deformable_attention(values.requires_grad_(), SHAPES, locations, weights)
    assert tracked.requires_grad
    assert torch.allclose(plain, tracked, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_values_are_summed_in_float32(dtype: torch.dtype) -> None:
    values, locations, weights = tensors()
    values = values.to(dtype)
    found = ops.deformable_attention(values, SHAPES, locations, weights)
    assert found.dtype == dtype
    assert torch.equal(
        found,
        ops.deformable_attention_reference(values.float(), SHAPES, locations, weights).to(dtype),
    )


def test_autocast_changes_nothing() -> None:
    values, locations, weights = tensors()
    values.requires_grad_()
    expected = ops.deformable_attention(values, SHAPES, locations, weights)
    with torch.autocast("cpu", torch.bfloat16):
        found = ops.deformable_attention(values, SHAPES, locations, weights)
    assert torch.equal(found, expected)


def test_no_queries_give_no_rows() -> None:
    assert ops.deformable_attention(*_with_shapes(tensors(queries=0))).shape == (2, 0, 12)


def _with_shapes(
    arguments: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, list[tuple[int, int]], Tensor, Tensor]:
    return arguments[0], SHAPES, *arguments[1:]


def test_the_op_passes_torchs_own_checks() -> None:
    values, locations, weights = tensors()
    heights, widths = [h for h, _ in SHAPES], [w for _, w in SHAPES]
    torch.library.opcheck(
        torch.ops.sparse_ovs.deformable_attention.default,
        (values, heights, widths, locations, weights),
    )


def test_it_compiles_whole_with_and_without_gradients() -> None:
    arguments = tensors()
    compiled = torch.compile(ops.deformable_attention, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        expected = ops.deformable_attention(*_with_shapes(arguments))
        assert torch.equal(compiled(*_with_shapes(arguments)), expected)
    arguments[0].requires_grad_()
    compiled(*_with_shapes(arguments)).sum().backward()
    found, arguments[0].grad = arguments[0].grad, None
    ops.deformable_attention(*_with_shapes(arguments)).sum().backward()
    assert found is not None
    assert arguments[0].grad is not None
    assert torch.allclose(found, arguments[0].grad, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda v, s, at, w: (v[0], s, at, w), ValueError, "values"),
        (lambda v, s, at, w: (v, [], at, w), ValueError, "levels"),
        (lambda v, s, at, w: (v, [(0, 5), *s[1:]], at, w), ValueError, "at least 1 cell"),
        (lambda v, s, at, w: (v[:, 1:], s, at, w), ValueError, "31 cells, got 30"),
        (lambda v, s, at, w: (v, s, at, w[:, :, 1:]), ValueError, "weights"),
        (lambda v, s, at, w: (v, s, at, w[..., 0]), ValueError, "weights"),
        (lambda v, s, at, w: (v, s, at[..., :1], w), ValueError, "locations"),
        (lambda v, s, at, w: (v, s, at[:, 1:], w), ValueError, "locations"),
        (lambda v, s, at, w: (v.int(), s, at, w), TypeError, "floating point"),
    ],
)
def test_what_does_not_fit_is_refused(change, error: type[Exception], message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=f"expected .*{message}"):
        ops.deformable_attention(*change(*_with_shapes(tensors())))


def test_the_op_refuses_what_its_kernel_cannot_read() -> None:
    values, locations, weights = tensors()
    with pytest.raises(ValueError, match="float64 has no CPU kernel"):
        torch.ops.sparse_ovs.deformable_attention(
            values.double(), [3, 1, 6], [5, 4, 2], locations, weights
        )
