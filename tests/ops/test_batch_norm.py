"""sparse_ovs::batch_norm and its gradients against torch in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import sparse_ovs
from sparse_ovs import ops
from support.examples import examples
from support.oracles import assert_as_exact_as_torch

EPS = 1e-5


def torchs(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """torch's own, by the statistics of the batch."""
    return F.batch_norm(x, None, None, gamma, beta, True, 0.0, EPS)


def gradients(run, tensors: list[Tensor], above: Tensor, dtype: torch.dtype) -> list[Tensor]:  # type: ignore[no-untyped-def]
    leaves = [t.to(dtype).requires_grad_() for t in tensors]
    y = run(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, above.to(dtype))]


@settings(max_examples=examples(40))
@given(
    batch=st.sampled_from([1, 3]),
    channels=st.sampled_from([1, 5, 16]),
    size=st.sampled_from([(1, 2), (3, 5), (4, 4), (8, 8), (9, 15), (20, 33)]),
    offset=st.sampled_from([0.0, 30.0]),
    threads=st.sampled_from([1, 2]),
)
def test_map_and_gradients_are_torch_s(
    batch: int, channels: int, size: tuple[int, int], offset: float, threads: int
) -> None:
    sparse_ovs.set_num_threads(threads)
    tensors = [torch.randn(batch, channels, *size) + offset, *torch.randn(2, channels)]
    above = torch.randn(batch, channels, *size)
    ours = gradients(lambda *t: ops.batch_norm(*t, EPS)[0], tensors, above, torch.float32)
    fp64 = gradients(torchs, tensors, above, torch.float64)
    fp32 = gradients(torchs, tensors, above, torch.float32)
    # Half an ulp of the mean is enlarged as differences from it are: two pixels may be close.
    variance = tensors[0].detach().double().var((0, 2, 3), correction=0)
    enlarged = max(1.0, float((variance + EPS).rsqrt().max()))
    scales = [20.0 * enlarged, 20.0, 20.0, 20.0]
    for found, exact, single, scale in zip(ours, fp64, fp32, scales, strict=True):
        assert_as_exact_as_torch(found, exact, single, scale=scale)


def test_statistics_are_those_of_the_batch() -> None:
    x = 100.0 + torch.randn(3, 7, 6, 9)
    _, mean, variance = ops.batch_norm(x, torch.ones(7), torch.zeros(7), EPS)
    assert torch.allclose(mean.double(), x.double().mean((0, 2, 3)), rtol=1e-6)
    expected = x.double().var((0, 2, 3), correction=0)
    assert torch.allclose(variance.double(), expected, rtol=1e-5)


def test_bits_do_not_depend_on_threads() -> None:
    tensors = [torch.randn(2, 33, 17, 19), *torch.randn(2, 33)]
    above, found = torch.randn(2, 33, 17, 19), []
    for threads in (1, 2, 5):
        sparse_ovs.set_num_threads(threads)
        run = gradients(lambda *t: ops.batch_norm(*t, EPS)[0], tensors, above, torch.float32)
        found.append(run)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))


@pytest.mark.parametrize(
    ("x", "gamma", "error"),
    [
        (torch.randn(2, 4), torch.ones(4), ValueError),
        (torch.randn(0, 4, 2, 2), torch.ones(4), ValueError),
        (torch.randn(2, 4, 2, 2), torch.ones(3), ValueError),
        (torch.randn(2, 4, 2, 2).double(), torch.ones(4), TypeError),
    ],
)
def test_what_it_cannot_read_is_refused(x: Tensor, gamma: Tensor, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        ops.batch_norm(x, gamma, torch.zeros(4), EPS)


def test_the_ops_pass_torchs_own_checks() -> None:
    x, gamma, beta = torch.randn(2, 4, 3, 5), torch.rand(4), torch.rand(4)
    torch.library.opcheck(
        torch.ops.sparse_ovs.batch_norm.default,
        (x.requires_grad_(), gamma.requires_grad_(), beta.requires_grad_(), EPS),
    )
    args = (torch.randn(2, 4, 3, 5), x.detach(), gamma.detach(), beta.detach(), torch.rand(4), EPS)
    for need_input in (True, False):
        torch.library.opcheck(
            torch.ops.sparse_ovs.batch_norm_gradients.default, (*args, need_input)
        )
