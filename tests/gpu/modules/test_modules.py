"""The drop-in modules on a GPU: what they run, how exactly, and when they pack again."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

pytest.importorskip("triton", reason="needs triton, which is not installed")

import sparse_ovs
from gpu.cuda.emulated import need_emulator
from gpu.modules.gpu_as_cpu import Launches, cpu_tensors_on_gpu, within
from sparse_ovs.nn import SparseConv2d, SparseLinear

HALF, BFLOAT, SINGLE = torch.float16, torch.bfloat16, torch.float32
CASES = [
    ("block32x32", HALF, "bsr"),
    ("block16x16", BFLOAT, "bsr"),
    ("unstructured", HALF, "sp24_residue"),
    ("unstructured", SINGLE, "csr_direct"),
]


@pytest.fixture
def gpu() -> Iterator[Launches]:
    """The CPU as a GPU of compute capability 8.0."""
    need_emulator()
    torch.manual_seed(0)
    with cpu_tensors_on_gpu(80) as launches, torch.no_grad():
        yield launches


def conv_of(pattern: str, dtype: torch.dtype, density: float = 0.1) -> SparseConv2d:
    """A sparse 3x3 convolution of 64 channels."""
    conv = nn.Conv2d(64, 64, 3, padding=1).eval()
    mask = sparse_ovs.make_mask(conv.weight.detach(), pattern, density)
    return SparseConv2d.from_dense(conv.to(dtype), mask, pattern, "native")


def dense_twice(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What torch gives with the same weights in double precision, and in x's dtype."""
    twin = copy.deepcopy(layer).to_dense()
    return copy.deepcopy(twin).double()(x.double()), twin.to(x.dtype)(x)


@pytest.mark.parametrize(("pattern", "dtype", "backend"), CASES)
def test_a_convolution_runs_the_route_of_its_mask(
    gpu: Launches, pattern: str, dtype: torch.dtype, backend: str
) -> None:
    conv = conv_of(pattern, dtype)
    assert (conv.backend, conv.reason) == (backend, "")
    for form in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 64, 5, 7).to(dtype).contiguous(memory_format=form)
        y = conv(x)
        assert y.is_contiguous(memory_format=form)
        within(y, *dense_twice(conv, x), eps=2**-20)
    assert gpu.names() == {"forward_kernel" if backend == "bsr" else backend}


@pytest.mark.parametrize(("pattern", "dtype", "backend"), CASES)
def test_a_linear_takes_any_leading_shape(
    gpu: Launches, pattern: str, dtype: torch.dtype, backend: str
) -> None:
    linear = nn.Linear(96, 64)
    mask = sparse_ovs.make_mask(linear.weight.detach(), pattern, 0.1)
    layer = SparseLinear.from_dense(linear.to(dtype), mask, pattern, "native")
    assert layer.backend == backend
    for shape in ((96,), (3, 96), (2, 3, 96), (0, 96)):
        x = torch.randn(shape).to(dtype)
        y = layer(x)
        assert y.shape == (*shape[:-1], 64)
        if y.numel():
            within(y, *dense_twice(layer, x), eps=2**-20)


def test_a_folded_norm_and_relu_run_inside_the_convolution(gpu: Launches) -> None:
    net = nn.Sequential(nn.Conv2d(64, 64, 1), nn.BatchNorm2d(64), nn.ReLU()).eval()
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.5, 2)
    dense = copy.deepcopy(net)
    sparse_ovs.sparsify(net.half(), "block32x32", 0.25, engine="native", fold_bn="eval")
    dense[0].weight.copy_(net[0].weight)
    x = torch.randn(1, 64, 4, 4).half()
    y = net(x)
    assert len(gpu.triton.launches) == 1
    within(y, dense.double()(x.double()), dense.half()(x), eps=2**-20)


def test_channels_last_maps_are_pooled_by_our_kernel_and_others_by_torch(gpu: Launches) -> None:
    net = nn.Sequential(nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16), nn.AvgPool2d(2)).eval()
    sparse_ovs.sparsify(net, "block16x16", 1.0, engine="dense", fold_bn="eval")
    x = torch.randn(2, 16, 6, 7).half()
    torch.testing.assert_close(net[2](x), F.avg_pool2d(x, 2))
    assert not gpu.names()
    x = x.contiguous(memory_format=torch.channels_last)
    y = net[2](x)
    assert gpu.names() == {"forward_kernel"}
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, F.avg_pool2d(x, 2))


def test_attention_projects_by_sparse_kernels(gpu: Launches) -> None:
    attention = nn.MultiheadAttention(64, 4, batch_first=True).eval()
    model = nn.ModuleList([attention]).half()
    sparse_ovs.sparsify(model, "block32x32", 0.5, engine="native")
    x = torch.randn(2, 9, 64).half()
    y, _ = model[0](x, x, x, need_weights=False)
    assert [run.name for run in gpu.triton.launches] == ["forward_kernel"] * 2
    dense = copy.deepcopy(model[0]).to_dense()
    reference, _ = dense(x, x, x, need_weights=True)
    fp64, _ = copy.deepcopy(dense).double()(x.double(), x.double(), x.double(), need_weights=True)
    within(y, fp64, reference, eps=2**-10)


@pytest.mark.parametrize("dtype", [HALF, BFLOAT])
def test_autocast_runs_float32_layers_in_halves(gpu: Launches, dtype: torch.dtype) -> None:
    conv = conv_of("unstructured", SINGLE)
    x = torch.randn(1, 64, 4, 4)
    with torch.autocast("cpu", dtype):
        y = conv(x)
    assert y.dtype == dtype
    assert gpu.names() == {"sp24_residue"}
    low = copy.deepcopy(conv).to_dense()
    within(y, low.double()(x.double()), low.to(dtype)(x.to(dtype)), eps=2**-20)


@pytest.mark.parametrize(("pattern", "dtype", "backend"), CASES)
def test_a_changed_weight_is_taken_up(
    gpu: Launches, pattern: str, dtype: torch.dtype, backend: str
) -> None:
    conv = conv_of(pattern, dtype)
    x = torch.randn(1, 64, 3, 3).to(dtype)
    conv(x)
    conv.weight.mul_(-2)
    conv.bias.add_(1)
    within(conv(x), *dense_twice(conv, x), eps=2**-20)
    conv.weight.data.mul_(3)
    conv.repack()
    within(conv(x), *dense_twice(conv, x), eps=2**-20)


def test_a_compiled_model_holds_our_ops_and_gives_the_same(gpu: Launches) -> None:
    net = nn.Sequential(nn.Conv2d(64, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.AvgPool2d(2))
    net = net.eval().half()
    sparse_ovs.sparsify(net, "block32x32", 0.25, engine="native", fold_bn="eval")
    x = torch.randn(1, 64, 6, 6).half().contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    y = compiled(x)
    assert torch.equal(y, net(x))
    assert y.stride() == net(x).stride()


def test_another_mask_is_another_layer(gpu: Launches) -> None:
    conv = conv_of("block32x32", HALF, 0.5)
    x = torch.randn(1, 64, 3, 3).half()
    conv(x)
    conv.set_mask(sparse_ovs.make_mask(conv.weight.detach(), "unstructured", 0.1))
    assert conv.backend == "sp24_residue"
    within(conv(x), *dense_twice(conv, x), eps=2**-20)


def test_what_no_route_runs_stays_dense_with_every_route_s_reason(gpu: Launches) -> None:
    conv = nn.Conv2d(64, 64, 3, groups=2)
    model = nn.Sequential(conv, nn.Conv2d(64, 64, 1)).double()
    report = sparse_ovs.sparsify(model, "unstructured", 0.1, engine="native")
    assert [layer.reason for layer in report.layers] == [
        "float64 has no GPU kernel; grouped convolutions have no GPU kernel",
        "float64 has no GPU kernel",
    ]
    model(torch.randn(1, 64, 3, 3).double())
    assert not gpu.names()


def test_an_input_of_another_channel_count_or_dtype_is_refused(gpu: Launches) -> None:
    conv = conv_of("unstructured", HALF)
    with pytest.raises(ValueError, match="expected 64 input channels"):
        conv(torch.randn(1, 63, 3, 3).half())
    with pytest.raises(TypeError, match=r"expected torch\.float16 input"):
        conv(torch.randn(1, 64, 3, 3))
