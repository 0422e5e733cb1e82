"""sparse_ovs::linear_gradients: dense masked gradients, computed only where weights are stored."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import sparse_ovs
from sparse_ovs import _native, ops
from sparse_ovs.formats import PackedWeight, pack
from support.oracles import assert_as_exact_as_torch, random_sparse_weight
from support.problems import run_linear


def run(
    grad: Tensor, x: Tensor, weight: Tensor, packed: PackedWeight, *needs: bool
) -> list[Tensor]:
    structure = packed.indices.view(torch.int16), packed.row_ptr, packed.block_rows
    return list(ops.linear_gradients(grad, x, weight, packed.mask(), *structure, *needs))


@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
@pytest.mark.parametrize("lead", [(), (1,), (17,), (2, 50), (3, 0)])
@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_are_those_of_the_masked_dense_layer(
    pattern: str, lead: tuple[int, ...], threads: int
) -> None:
    sparse_ovs.set_num_threads(threads)
    weight = random_sparse_weight((22, 35), 0.3, pattern)
    mask, x, grad = weight != 0, torch.randn(*lead, 35), torch.randn(*lead, 22)

    def dense(dtype: torch.dtype) -> list[Tensor]:
        leaves = [x.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()]
        out = torch.nn.functional.linear(*leaves)
        grad_x, grad_weight = torch.autograd.grad(out, leaves, grad.to(dtype))
        return [grad_x, grad_weight * mask]

    ours = run(grad, x, weight, pack(weight))
    for found, fp64, fp32 in zip(ours, dense(torch.float64), dense(torch.float32), strict=True):
        assert_as_exact_as_torch(found, fp64, fp32, scale=4.0)
    assert ours[1][~mask].count_nonzero() == 0


def test_bits_do_not_depend_on_threads() -> None:
    weight = random_sparse_weight((64, 48), 0.2)
    packed, x, grad = pack(weight), torch.randn(5000, 48), torch.randn(5000, 64)
    found = []
    for threads in (1, 2, 5):
        sparse_ovs.set_num_threads(threads)
        found.append(run(grad, x, weight, packed))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))


def test_what_is_not_needed_is_empty() -> None:
    weight = random_sparse_weight((9, 12), 0.4)
    packed, x, grad = pack(weight), torch.randn(5, 12), torch.randn(5, 9)
    both = run(grad, x, weight, packed)
    grad_x, nothing = run(grad, x, weight, packed, True, False)
    assert torch.equal(grad_x, both[0])
    assert nothing.shape == (0,)
    nothing, grad_weight = run(grad, x, weight, packed, False, True)
    assert torch.equal(grad_weight, both[1])
    assert nothing.shape == (0,)


def test_a_frozen_weight_gets_no_gradient_and_costs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = random_sparse_weight((9, 12), 0.4)
    packed, x = pack(weight), torch.randn(5, 12, requires_grad=True)

    def refuse(*args: object) -> None:
        raise AssertionError("expected no weight gradient to be computed")

    monkeypatch.setattr(_native.WeightGradient, "run", refuse)
    run_linear(x, weight, packed=packed).sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad, weight.sum(0).expand(5, 12), atol=1e-5)


def test_double_precision_takes_the_dense_path() -> None:
    weight = random_sparse_weight((9, 12), 0.4).double()
    packed = pack(weight.float())
    x, grad = torch.randn(5, 12).double(), torch.randn(5, 9).double()
    grad_x, grad_weight = run(grad, x, weight, packed)
    assert torch.allclose(grad_x, grad @ weight)
    assert torch.allclose(grad_weight, (grad.T @ x) * packed.mask())


@pytest.mark.parametrize("needs", [(True, True), (True, False), (False, True)])
def test_the_op_passes_torchs_own_checks(needs: tuple[bool, bool]) -> None:
    weight = random_sparse_weight((9, 12), 0.4)
    packed = pack(weight)
    structure = packed.indices.view(torch.int16), packed.row_ptr, packed.block_rows
    args = (torch.randn(2, 5, 9), torch.randn(2, 5, 12), weight, packed.mask(), *structure, *needs)
    torch.library.opcheck(torch.ops.sparse_ovs.linear_gradients.default, args)
