"""Gradients of the drop-in modules on a GPU: block kernels where masks are of blocks."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("triton", reason="needs triton, which is not installed")

import sparse_ovs
from gpu.cuda.emulated import need_emulator
from gpu.modules.gpu_as_cpu import Launches, cpu_tensors_on_gpu, within
from sparse_ovs.nn import SparseConv2d, SparseLinear

HALF, SINGLE = torch.float16, torch.float32
KERNELS = {"forward_kernel", "input_gradient_kernel", "weight_gradient_kernel"}


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Launches]:
    """The CPU as a GPU of compute capability 8.0, float32 without TF32."""
    need_emulator()
    torch.manual_seed(0)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    with cpu_tensors_on_gpu(80) as launches:
        yield launches


def gradients(layer: nn.Module, x: Tensor, grad: Tensor) -> list[Tensor]:
    """Of input, weight and bias."""
    x = x.clone().requires_grad_()
    layer(x).backward(grad)
    assert x.grad is not None
    return [x.grad, layer.weight.grad, layer.bias.grad]


def check(layer: SparseConv2d | SparseLinear, x: Tensor, grad: Tensor) -> None:
    """All gradients, against double precision and torch in the same dtype, masked."""
    dense = [copy.deepcopy(layer).to_dense().to(dtype) for dtype in (torch.double, x.dtype)]
    exact = gradients(dense[0], x.double(), grad.double())
    reference = gradients(dense[1], x, grad)
    for fp64, low, found in zip(exact, reference, gradients(layer, x, grad), strict=True):
        if found is layer.weight.grad:
            assert not found[~layer.mask].any()
            fp64, low = fp64 * layer.mask, low * layer.mask
        within(found, fp64, low, eps=2**-20)


def conv_of(pattern: str, dtype: torch.dtype) -> SparseConv2d:
    conv = nn.Conv2d(64, 96, 3, stride=(2, 1), padding=1)
    mask = sparse_ovs.make_mask(conv.weight.detach(), pattern, 0.25)
    return SparseConv2d.from_dense(conv.to(dtype), mask, pattern, "native").train()


@pytest.mark.parametrize("dtype", [HALF, pytest.param(SINGLE, marks=pytest.mark.slow)], ids=str)
def test_a_convolution_of_blocks_trains_by_block_kernels(dtype: torch.dtype, gpu: Launches) -> None:
    check(conv_of("block32x32", dtype), *inputs((2, 64, 5, 6), (2, 96, 3, 6), dtype))
    assert gpu.names() == KERNELS


def test_a_linear_of_blocks_trains_by_block_kernels(gpu: Launches) -> None:
    linear = nn.Linear(96, 64)
    mask = sparse_ovs.make_mask(linear.weight.detach(), "block32x32", 0.5)
    layer = SparseLinear.from_dense(linear.to(HALF), mask, "block32x32", "native").train()
    check(layer, *inputs((3, 5, 96), (3, 5, 64), HALF))
    assert gpu.names() == KERNELS


def test_other_masks_train_forward_sparse_and_backward_by_dense_torch(gpu: Launches) -> None:
    check(conv_of("unstructured", SINGLE), *inputs((1, 64, 5, 6), (1, 96, 3, 6), SINGLE))
    assert gpu.names() == {"csr_direct"}


def test_autocast_trains_float32_weights_in_halves(gpu: Launches) -> None:
    layer = conv_of("block32x32", SINGLE)
    x, grad = inputs((1, 64, 5, 6), (1, 96, 3, 6), SINGLE)
    with torch.autocast("cpu", HALF):
        found = gradients(layer, x, grad.half())
    assert [g.dtype for g in found] == [SINGLE] * 3
    assert gpu.names() == KERNELS
    dense = copy.deepcopy(layer).to_dense().double()
    exact = gradients(dense, x.double(), grad.double())
    for ours, fp64 in zip(found, (exact[0], exact[1] * layer.mask, exact[2]), strict=True):
        error = float((ours.double() - fp64).abs().max())
        assert error <= 2**-8 * float(fp64.abs().max())


def test_a_frozen_weight_costs_no_gradient_kernel(gpu: Launches) -> None:
    layer = conv_of("block32x32", HALF)
    layer.weight.requires_grad_(False)
    x, grad = inputs((1, 64, 5, 6), (1, 96, 3, 6), HALF)
    layer(x.requires_grad_()).backward(grad)
    assert x.grad is not None
    assert gpu.names() == {"forward_kernel", "input_gradient_kernel"}


def test_training_packs_values_and_no_structure_again(
    gpu: Launches, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = conv_of("block32x32", HALF)
    x, grad = inputs((1, 64, 5, 6), (1, 96, 3, 6), HALF)
    layer(x).backward(grad)
    monkeypatch.setattr("sparse_ovs.ops.cuda.routes.block_sparse.pack_bsr", None)
    layer.zero_grad()
    with torch.no_grad():
        layer.weight.mul_(-3)
    check(layer, x, grad)


def inputs(
    shape: tuple[int, ...], grad_shape: tuple[int, ...], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """An input, and a gradient of the output."""
    return torch.randn(shape).to(dtype), torch.randn(grad_shape).to(dtype)
