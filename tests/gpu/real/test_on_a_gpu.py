"""Everything again on a real GPU, where there is one: `pytest -m gpu`."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

pytest.importorskip("triton", reason="needs triton, which is not installed")

import sparse_ovs
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
from gpu.modules.gpu_as_cpu import within
from sparse_ovs.kernels.tiles import BLOCKS
from sparse_ovs.nn import SparseConv2d, SparseLinear

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]

HALF, BFLOAT, SINGLE = torch.float16, torch.bfloat16, torch.float32
VARIANTS = [Variant(block, dtype) for block in BLOCKS for dtype in (HALF, BFLOAT, SINGLE)]
VARIANTS += [Variant(block, SINGLE, "ieee") for block in BLOCKS if block != (64, 64)]
CASES = [
    ("block32x32", HALF, "bsr"),
    ("block64x64", BFLOAT, "bsr"),
    ("unstructured", HALF, "sp24_residue"),
    ("unstructured", BFLOAT, "sp24_residue"),
    ("2:4", HALF, "sp24_residue"),
    ("unstructured", SINGLE, "csr_direct"),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize(
    "problem",
    [
        LinearProblem(rows=150, out_features=128, in_features=192),
        LinearProblem(rows=70, out_features=75, in_features=90, activation="gelu", gap=3),
        ConvProblem(2, out_channels=128, in_channels=64, size=(17, 21), density=0.3),
        ConvProblem(2, 75, 90, (9, 11), (3, 3), (2, 1), (1, 2), (1, 2), activation="relu"),
    ],
    ids=["linear", "odd linear", "conv", "odd conv"],
)
def test_triton_kernels_are_right(problem: LinearProblem | ConvProblem, variant: Variant) -> None:
    with torch.device("cuda"):
        if problem.activation != "gelu":
            for result in problem.results(variant, integers):
                assert_exact(result)
        for result in problem.results(variant, normals):
            assert_close(result, variant.tolerance)


@pytest.mark.parametrize("dtype", [HALF, BFLOAT, SINGLE], ids=str)
def test_pooling_is_right(dtype: torch.dtype) -> None:
    with torch.device("cuda"):
        for result in PoolProblem(2, 80, (7, 9)).results(dtype, normals):
            assert_close(result, Variant((16, 16), dtype, "ieee").tolerance)


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(("pattern", "dtype", "backend"), CASES)
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolutions_are_right_alone_and_in_a_graph(
    kernel: int, pattern: str, dtype: torch.dtype, backend: str, form: torch.memory_format
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(128, 192, kernel, padding=kernel // 2)
    mask = sparse_ovs.make_mask(conv.weight.detach(), pattern, 0.5 if pattern == "2:4" else 0.1)
    layer = SparseConv2d.from_dense(conv, mask, pattern, "native").eval().to("cuda", dtype)
    assert layer.backend == backend
    dense = copy.deepcopy(layer).to_dense()
    x = torch.randn(2, 128, 14, 13, device="cuda", dtype=dtype).contiguous(memory_format=form)
    with torch.no_grad():
        y = layer(x)
        within(y, copy.deepcopy(dense).double()(x.double()), dense(x), eps=2**-20)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = layer(x)
        x.neg_()
        graph.replay()
        assert torch.equal(captured, layer(x))


@pytest.mark.parametrize(("pattern", "dtype", "backend"), CASES)
def test_linears_are_right(pattern: str, dtype: torch.dtype, backend: str) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(192, 128)
    mask = sparse_ovs.make_mask(linear.weight.detach(), pattern, 0.5 if pattern == "2:4" else 0.1)
    layer = SparseLinear.from_dense(linear, mask, pattern, "native").eval().to("cuda", dtype)
    assert layer.backend == backend
    dense = copy.deepcopy(layer).to_dense()
    x = torch.randn(3, 50, 192, device="cuda", dtype=dtype)
    with torch.no_grad():
        within(layer(x), copy.deepcopy(dense).double()(x.double()), dense(x), eps=2**-20)


@pytest.mark.parametrize("pattern", ["unstructured", "block32x32"])
def test_the_whole_trunk_is_right_under_autocast_and_compiled(pattern: str) -> None:
    torch.manual_seed(0)
    sparse = sparse_ovs.create_backbone("RN50", density=0.25, pattern=pattern, engine="native")
    sparse.to("cuda").to(memory_format=torch.channels_last)
    dense = sparse_ovs.densify(copy.deepcopy(sparse)).eval()
    x = torch.randn(2, 3, 96, 96, device="cuda").contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cuda", HALF):
        found, reference = sparse(x), dense(x)
        compiled = torch.compile(sparse)(x)
    with torch.no_grad():
        exact = copy.deepcopy(dense).double()(x.double())
    for y, again, low, fp64 in zip(found, compiled, reference, exact, strict=True):
        within(y, fp64, low, eps=2**-9)
        within(again, fp64, low, eps=2**-9)
