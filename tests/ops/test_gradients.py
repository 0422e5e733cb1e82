"""Gradients of the ops against those of dense torch in double precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparse_ovs.formats import pack
from support.examples import examples
from support.oracles import assert_as_exact_as_torch, linear, random_norm, random_sparse_weight
from support.problems import ConvData, ConvProblem, conv_data, run_linear


def conv_gradients(
    data: ConvData, dtype: torch.dtype, run: Callable[[ConvData], Tensor]
) -> list[Tensor]:
    """Gradients of every floating tensor of the problem, under one random gradient above."""

    def leaf(tensor: Tensor) -> Tensor:
        return tensor.detach().to(dtype).requires_grad_()

    copy = ConvData(
        data.problem,
        leaf(data.x),
        data.weight,
        None if data.bias is None else leaf(data.bias),
        [leaf(t) for t in data.norm],
        None if data.residual is None else leaf(data.residual),
    )
    copy.weight = leaf(data.weight)
    leaves = [copy.x, copy.weight, *copy.norm]
    leaves += [t for t in (copy.bias, copy.residual) if t is not None]
    out = run(copy)
    above = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
    return list(torch.autograd.grad(out, leaves, above.to(dtype)))


def assert_gradients_right(problem: ConvProblem) -> None:
    data = conv_data(problem)

    def dense(dtype: torch.dtype) -> list[Tensor]:
        found = conv_gradients(data, dtype, lambda d: d.torch(dtype))
        found[1] = found[1] * data.mask  # pruned weights have no gradient
        return found

    ours = conv_gradients(data, torch.float32, ConvData.run)
    for found, fp64, fp32 in zip(ours, dense(torch.float64), dense(torch.float32), strict=True):
        # Sums over all pixels, times what BatchNorm scales by: their terms are larger than they.
        assert_as_exact_as_torch(found, fp64, fp32, scale=100.0)


@settings(max_examples=examples(60))
@given(
    geometry=st.sampled_from(
        [((1, 1), (0, 0)), ((3, 3), (1, 1)), ((3, 3), (0, 0)), ((2, 3), (0, 2))]
    ),
    stride=st.sampled_from([(1, 1), (2, 2), (1, 2)]),
    dilation=st.sampled_from([(1, 1), (2, 2)]),
    groups=st.sampled_from([1, 2]),
    density=st.sampled_from([0.1, 0.5, 1.0]),
    layout=st.sampled_from(["contiguous", "channels_last", "strided"]),
    bias=st.booleans(),
    norm=st.booleans(),
    residual=st.booleans(),
    relu=st.booleans(),
    seed=st.integers(0, 100),
)
def test_gradients_of_any_convolution_are_dense_torch_s(
    geometry: tuple[tuple[int, int], tuple[int, int]], **how: object
) -> None:
    problem = ConvProblem(2, 4, 6, (6, 7), geometry[0], padding=geometry[1], block_rows=1)
    assert_gradients_right(problem.but(**how))


def test_gradients_of_a_block_pattern() -> None:
    assert_gradients_right(ConvProblem(2, 8, 12, pattern="block4x1", norm=True, relu=True))


def test_pruned_weights_get_no_gradient() -> None:
    data = conv_data(ConvProblem())
    weight = data.weight.clone().requires_grad_()
    data.run(weight=weight).square().sum().backward()
    assert weight.grad is not None
    assert weight.grad[~data.mask].count_nonzero() == 0
    assert weight.grad[data.mask].count_nonzero() > 0


def test_stored_zeros_get_a_gradient() -> None:
    # Weights that grow back during fine-tuning lie inside the mask.
    data = conv_data(ConvProblem())
    mask = torch.ones_like(data.mask)
    packed = pack(data.weight, mask)
    weight = data.weight.clone().requires_grad_()
    structure = {"indices": packed.indices, "row_ptr": packed.row_ptr}
    out = data.run(weight=weight, mask=mask, block_rows=packed.block_rows, **structure)
    out.square().sum().backward()
    assert weight.grad is not None
    assert weight.grad.count_nonzero() == weight.numel()


@pytest.mark.parametrize("wanted", ["x", "weight", "bias", "residual"])
def test_each_gradient_alone(wanted: str) -> None:
    data = conv_data(ConvProblem(residual=True, norm=True))
    leaf = getattr(data, wanted).clone().requires_grad_()
    every = conv_gradients(data, torch.float32, ConvData.run)
    place = {"x": 0, "weight": 1, "bias": 6, "residual": 7}[wanted]
    out = data.run(**{wanted: leaf})
    above = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
    (alone,) = torch.autograd.grad(out, leaf, above)
    assert torch.allclose(alone, every[place], rtol=1e-5, atol=1e-6)


def test_without_gradients_nothing_is_kept_for_them() -> None:
    data = conv_data(ConvProblem())
    assert not data.run().requires_grad
    with torch.no_grad():
        assert not data.run(weight=data.weight.clone().requires_grad_()).requires_grad


def test_inference_mode_gives_the_same_bits() -> None:
    data = conv_data(ConvProblem(norm=True, residual=True))
    expected = data.run()
    with torch.inference_mode():
        inside = conv_data(data.problem)  # inference tensors have no version counter
        assert torch.equal(data.run(), expected)
        assert torch.equal(inside.run(), expected)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("lead", [(), (5,), (2, 3)])
def test_gradients_of_a_linear_layer_are_dense_torch_s(
    lead: tuple[int, ...], has_bias: bool, relu: bool
) -> None:
    weight = random_sparse_weight((9, 12), 0.4)
    mask, packed = weight != 0, pack(weight)
    x, bias = torch.randn(*lead, 12), torch.randn(9)
    above = torch.randn(*lead, 9)

    def gradients(dtype: torch.dtype, run: Callable[..., Tensor]) -> list[Tensor]:
        leaves = [t.detach().to(dtype).requires_grad_() for t in (x, weight, bias)[: 2 + has_bias]]
        return list(torch.autograd.grad(run(*leaves), leaves, above.to(dtype)))

    def dense(dtype: torch.dtype) -> list[Tensor]:
        found = gradients(dtype, lambda *t: linear(*t, relu=relu, dtype=dtype))
        found[1] = found[1] * mask
        return found

    ours = gradients(torch.float32, lambda *t: run_linear(*t, packed=packed, relu=relu))
    for found, fp64, fp32 in zip(ours, dense(torch.float64), dense(torch.float32), strict=True):
        assert_as_exact_as_torch(found, fp64, fp32)


def test_a_step_of_an_optimiser_is_noticed_and_leaves_pruned_weights_alone() -> None:
    data = conv_data(ConvProblem(bias=False))
    weight = torch.nn.Parameter(data.weight.clone())
    optimiser = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    for _ in range(3):
        optimiser.zero_grad()
        data.run(weight=weight).square().mean().backward()
        optimiser.step()
    changed = data.with_weight(weight.detach().clone())
    assert not torch.equal(weight, data.weight)
    assert torch.equal(weight != 0, data.mask)
    assert torch.equal(data.run(weight=weight), changed.run())


def test_gradients_of_a_norm_reach_the_statistics() -> None:
    # fold_norm is differentiated by hand: all four tensors count.
    data = conv_data(ConvProblem(norm=True, bias=False))
    norm = [t.requires_grad_() for t in random_norm(8)]
    data.run(norm=norm).square().sum().backward()
    assert all(t.grad is not None and t.grad.count_nonzero() == 8 for t in norm)
