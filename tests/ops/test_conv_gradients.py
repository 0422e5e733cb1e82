"""sparse_ovs::conv2d_gradients: dense masked gradients, computed only where weights are stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import sparse_ovs
from sparse_ovs import _native, ops
from support.examples import examples
from support.oracles import assert_as_exact_as_torch, random_sparse_weight
from support.problems import ConvData, ConvProblem, conv_data, in_layout


def grad_of(data: ConvData) -> Tensor:
    """A random gradient of the output, in the input's layout."""
    p = data.problem
    grad = torch.randn(p.batch, p.out_channels, *p.out_size)
    return in_layout(grad, p.layout)


def arguments(data: ConvData, grad: Tensor) -> tuple[Any, ...]:
    p, packed = data.problem, data.packed
    structure = packed.indices.view(torch.int16), packed.row_ptr, packed.block_rows
    geometry = list(p.stride), list(p.padding), list(p.dilation), p.groups
    return (grad, data.x, data.weight, data.mask, *structure, *geometry)


def dense_gradients(data: ConvData, grad: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Those of torch in `dtype`, the weight's masked."""
    p = data.problem
    x = data.x.to(dtype).requires_grad_()
    weight = data.weight.to(dtype).requires_grad_()
    copy = ConvData(p, x, data.weight, None, [], None)
    copy.weight = weight
    grad_x, grad_weight = torch.autograd.grad(copy.torch(dtype), [x, weight], grad.to(dtype))
    return grad_x, grad_weight * data.mask


def assert_gradients_right(problem: ConvProblem) -> None:
    data = conv_data(problem.but(bias=False))
    grad = grad_of(data)
    ours = ops.conv2d_gradients(*arguments(data, grad))
    fp64 = dense_gradients(data, grad, torch.float64)
    fp32 = dense_gradients(data, grad, torch.float32)
    for found, exact, single in zip(ours, fp64, fp32, strict=True):
        # Terms of size one; sums over few of them may cancel.
        assert_as_exact_as_torch(found, exact, single, scale=4.0)
    assert ours[1][~data.mask].count_nonzero() == 0


@settings(max_examples=examples(60))
@given(
    geometry=st.sampled_from(
        [
            ((1, 1), (0, 0)),
            ((1, 1), (1, 2)),  # padding that no kernel tap needs
            ((3, 3), (1, 1)),
            ((3, 3), (0, 0)),
            ((2, 3), (0, 4)),
        ]
    ),
    size=st.sampled_from([(5, 7), (6, 16), (9, 33)]),
    stride=st.sampled_from([(1, 1), (2, 2), (1, 3)]),
    dilation=st.sampled_from([(1, 1), (2, 1)]),
    groups=st.sampled_from([1, 2]),
    pattern=st.sampled_from(["unstructured", "block4x1"]),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    layout=st.sampled_from(["contiguous", "channels_last", "strided"]),
    batch=st.sampled_from([1, 3]),
    threads=st.sampled_from([1, 2]),
    seed=st.integers(0, 100),
)
def test_gradients_are_those_of_the_masked_dense_convolution(
    geometry: tuple[tuple[int, int], tuple[int, int]], threads: int, **how: object
) -> None:
    sparse_ovs.set_num_threads(threads)
    problem = ConvProblem(1, 12, 16, kernel=geometry[0], padding=geometry[1])
    assert_gradients_right(problem.but(**how))


@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients_over_many_pixels_are_right(pattern: str, kernel: int, layout: str) -> None:
    problem = ConvProblem(2, 20, 24, (45, 61), (kernel, kernel), padding=(kernel // 2,) * 2)
    assert_gradients_right(problem.but(pattern=pattern, layout=layout, density=0.2))


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (7, 7)])
def test_gradients_over_few_pixels_are_right(size: tuple[int, int]) -> None:
    assert_gradients_right(ConvProblem(5, 40, 33, size, (1, 1), padding=(0, 0)))


@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
@pytest.mark.parametrize("size", [(7, 9), (50, 40)])
def test_bits_do_not_depend_on_threads(pattern: str, size: tuple[int, int]) -> None:
    data = conv_data(ConvProblem(3, 24, 32, size, pattern=pattern))
    grad, found = grad_of(data), []
    for threads in (1, 2, 5):
        sparse_ovs.set_num_threads(threads)
        found.append(ops.conv2d_gradients(*arguments(data, grad)))
    for other in found[1:]:
        assert torch.equal(other[0], found[0][0])
        assert torch.equal(other[1], found[0][1])


def test_what_is_not_needed_is_empty_and_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = conv_data(ConvProblem())
    grad = grad_of(data)
    both = ops.conv2d_gradients(*arguments(data, grad))
    grad_x, nothing = ops.conv2d_gradients(*arguments(data, grad), need_weight=False)
    assert nothing.shape == (0,)
    assert torch.equal(grad_x, both[0])
    nothing, grad_weight = ops.conv2d_gradients(*arguments(data, grad), need_input=False)
    assert nothing.shape == (0,)
    assert torch.equal(grad_weight, both[1])

    def refuse(*args: object) -> None:
        raise AssertionError("expected no weight gradient to be computed")

    monkeypatch.setattr(_native.WeightGradient, "run", refuse)
    weight = data.weight.clone()  # frozen
    x = data.x.clone().requires_grad_()
    data.run(x=x, weight=weight).backward(grad)
    assert x.grad is not None
    assert torch.equal(x.grad, both[0])


def kept_shapes(run: Callable[[], Tensor]) -> list[torch.Size]:
    """Shapes of the tensors that autograd keeps for the backward pass."""
    shapes = []

    def note(tensor: Tensor) -> Tensor:
        shapes.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        run()
    return shapes


def test_a_frozen_weight_lets_go_of_the_input() -> None:
    data = conv_data(ConvProblem(2, 8, 12))
    x, trained = data.x.clone().requires_grad_(), data.weight.clone().requires_grad_()
    assert x.shape in kept_shapes(lambda: data.run(x=x, weight=trained))
    assert x.shape not in kept_shapes(lambda: data.run(x=x))


@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
def test_a_step_of_the_optimiser_builds_nothing_anew(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = conv_data(ConvProblem(2, 8, 16, pattern=pattern))
    weight = torch.nn.Parameter(data.weight.clone())
    bias = torch.nn.Parameter(torch.randn(16))
    steps = torch.optim.SGD([weight, bias], lr=0.05, momentum=0.9)
    x = data.x.clone().requires_grad_()
    grad = grad_of(data)

    def step() -> None:
        steps.zero_grad()
        data.run(x=x, weight=weight, bias=bias).backward(grad)
        steps.step()

    step()

    def refuse(*args: object) -> None:
        raise AssertionError("expected weights and plans to stay")

    with monkeypatch.context() as patch:
        for kind in (_native.Plan, _native.WeightGradient, _native.NativeWeights):
            patch.setattr(kind, "__init__", refuse)
        step()
        step()
        after = data.run(x=x, weight=weight, bias=bias)
        (grad_x,) = torch.autograd.grad(after, x, grad)
    fresh = data.with_weight(weight.detach().clone())
    assert torch.equal(after, fresh.run(bias=bias))
    expected, _ = ops.conv2d_gradients(*arguments(fresh, grad))
    assert torch.equal(grad_x, expected)
    assert torch.equal(weight != 0, data.mask)


def test_a_weight_in_double_precision_takes_the_dense_path() -> None:
    data = conv_data(ConvProblem(2, 3, 4, (4, 5), bias=False))
    grad = grad_of(data).double()
    args = list(arguments(data, grad))
    args[1], args[2] = data.x.double(), data.weight.double()
    found = ops.conv2d_gradients(*args)
    for ours, dense in zip(found, dense_gradients(data, grad, torch.float64), strict=True):
        assert torch.allclose(ours, dense, rtol=1e-12, atol=1e-12)


def test_an_empty_batch_has_gradients_of_zero() -> None:
    data = conv_data(ConvProblem())
    args = list(arguments(data, torch.empty(0, 8, 6, 7)))
    args[1] = torch.empty(0, 8, 6, 7)
    grad_x, grad_weight = ops.conv2d_gradients(*args)
    assert grad_x.shape == (0, 8, 6, 7)
    assert grad_weight.shape == data.weight.shape
    assert grad_weight.count_nonzero() == 0


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_the_input_gradient_keeps_the_layout(layout: str) -> None:
    data = conv_data(ConvProblem(2, 8, 12, layout=layout, stride=(2, 2)))
    grad_x, _ = ops.conv2d_gradients(*arguments(data, grad_of(data)))
    assert grad_x.stride() == data.x.stride()


@pytest.mark.parametrize("need_input", [True, False])
@pytest.mark.parametrize("need_weight", [True, False])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_the_op_passes_torchs_own_checks(need_input: bool, need_weight: bool, layout: str) -> None:
    data = conv_data(ConvProblem(2, 8, 12, layout=layout))
    args = (*arguments(data, grad_of(data)), need_input, need_weight)
    torch.library.opcheck(torch.ops.sparse_ovs.conv2d_gradients.default, args)


def test_a_compiled_training_step_gives_the_eager_gradients() -> None:
    data = conv_data(ConvProblem(2, 8, 12))

    def gradients(run: Callable[..., Tensor]) -> list[Tensor]:
        leaves = [t.clone().requires_grad_() for t in (data.x, data.weight, data.bias)]
        return list(torch.autograd.grad(run(*leaves).square().sum(), leaves))

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return data.run(x=x, weight=weight, bias=bias)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    for ours, eager in zip(gradients(compiled), gradients(run), strict=True):
        assert torch.allclose(ours, eager, rtol=1e-6, atol=1e-6)


def test_expanded_gradients_are_taken() -> None:
    # What sum().backward() hands down: one number, with strides of zero.
    data = conv_data(ConvProblem(bias=False))
    weight = data.weight.clone().requires_grad_()
    data.run(weight=weight).sum().backward()
    ones = torch.ones(1, 8, 6, 7)
    assert weight.grad is not None
    assert torch.equal(weight.grad, ops.conv2d_gradients(*arguments(data, ones))[1])


@pytest.mark.parametrize("columns", [70_000])
def test_more_columns_than_16_bits_reach(columns: int) -> None:
    weight = random_sparse_weight((4, columns, 1, 1), 0.01)
    problem = ConvProblem(1, columns, 4, (1, 2), (1, 1), padding=(0, 0), bias=False)
    data = ConvData(problem, torch.randn(1, columns, 1, 2), weight, None, [], None)
    assert data.packed.indices.dtype == torch.int32
    grad = grad_of(data)
    structure = data.packed.indices, data.packed.row_ptr, data.packed.block_rows
    found = ops.conv2d_gradients(
        grad, data.x, weight, data.mask, *structure, (1, 1), (0, 0), (1, 1), 1
    )
    for ours, dense in zip(found, dense_gradients(data, grad, torch.float64), strict=True):
        assert torch.allclose(ours.double(), dense, rtol=1e-5, atol=1e-5)
