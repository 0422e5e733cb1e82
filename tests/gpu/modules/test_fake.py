"""Shapes, dtypes, layouts and devices of the GPU path, on CUDA tensors that hold nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

import sparse_ovs
from sparse_ovs.formats import MaskFit
from sparse_ovs.nn import SparseConv2d, SparseLinear
from sparse_ovs.ops import BLOCKS

Made = TypeVar("Made")


@pytest.fixture
def fake() -> Iterator[FakeTensorMode]:
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        yield mode


FEW = dict.fromkeys(BLOCKS, 0)  # slots of a mask that keeps nothing


def on_gpu(layer: SparseConv2d | SparseLinear, dtype: torch.dtype) -> nn.Module:
    """The layer on a GPU that is not there. What its mask fits is measured on the real one."""
    assert real(lambda: layer.fit).kept
    return layer.to("cuda", dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("pattern", ["unstructured", "block32x32"])
def test_a_convolution_keeps_dtype_device_and_layout(
    pattern: str, form: torch.memory_format, dtype: torch.dtype, fake: FakeTensorMode
) -> None:
    conv = real(lambda: nn.Conv2d(64, 96, 3, stride=2, padding=1))
    mask = real(lambda: sparse_ovs.make_mask(conv.weight.detach(), pattern, 0.25))
    layer = real(lambda: SparseConv2d.from_dense(conv, mask, pattern, "native").eval())
    layer = on_gpu(layer, dtype)
    assert layer.reason == ""
    x = torch.empty(2, 64, 9, 12, device="cuda", dtype=dtype).contiguous(memory_format=form)
    with torch.no_grad():
        y = layer(x)
    assert (y.shape, y.dtype, y.device.type) == ((2, 96, 5, 6), dtype, "cuda")
    assert y.is_contiguous(memory_format=form)


def test_a_linear_keeps_leading_dimensions(fake: FakeTensorMode) -> None:
    layer = real(lambda: SparseLinear.from_dense(nn.Linear(64, 96), None, engine="native").eval())
    layer = on_gpu(layer, torch.float16)
    with torch.no_grad():
        y = layer(torch.empty(2, 5, 64, device="cuda", dtype=torch.float16))
    assert (y.shape, y.dtype, y.device.type) == ((2, 5, 96), torch.float16, "cuda")


def test_a_whole_encoder_gives_maps_on_the_gpu(fake: FakeTensorMode) -> None:
    encoder = real(lambda: sparse_ovs.create_backbone("RN50", density=0.1, engine="native"))
    for module in encoder.modules():
        # One by one: torch cannot move a whole model to fake tensors.
        for name, parameter in module._parameters.items():
            if parameter is not None:
                empty = torch.empty(parameter.shape, device="cuda", dtype=torch.float16)
                module._parameters[name] = nn.Parameter(empty)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                dtype = torch.float16 if buffer.is_floating_point() else buffer.dtype
                module._buffers[name] = torch.empty(buffer.shape, device="cuda", dtype=dtype)
        if isinstance(module, SparseConv2d):
            module.__dict__["_fit"] = MaskFit(tuple(module.weight.shape), 0, FEW, 0)
            module._refresh_reason()
            assert module.backend == "bsr"
    x = torch.empty(2, 3, 64, 96, device="cuda", dtype=torch.float16)
    with torch.no_grad():
        maps = encoder(x.contiguous(memory_format=torch.channels_last))
    assert [tuple(y.shape) for y in maps] == [
        (2, 256, 16, 24),
        (2, 512, 8, 12),
        (2, 1024, 4, 6),
        (2, 2048, 2, 3),
    ]
    for y in maps:
        assert (y.dtype, y.device.type) == (torch.float16, "cuda")
        assert y.is_contiguous(memory_format=torch.channels_last)


def test_an_input_on_another_device_is_refused(fake: FakeTensorMode) -> None:
    layer = real(lambda: SparseLinear.from_dense(nn.Linear(64, 96), None, engine="native").eval())
    layer = on_gpu(layer, torch.float32)
    with pytest.raises(ValueError, match=r"expected input on cuda:0 for SparseLinear, got cpu"):
        layer(torch.empty(2, 64))


def real(make: Callable[[], Made]) -> Made:
    """Makes something of real tensors inside a fake mode."""
    with torch._subclasses.fake_tensor.unset_fake_temporarily():
        return make()
