"""Shapes that torch's convolution may end the process on never reach it from a layer of ours."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sparse_ovs import sparsify
from sparse_ovs.nn import SparseConv2d
from support import jumping_convs, scripts


class _Convolutions(TorchDispatchMode):
    """Notes those that torch is asked for: whether backward, kernel, stride, padding."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[bool, Sequence[int], Sequence[int], Sequence[int]]] = []

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Any = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.calls.append((False, args[1].shape[2:], args[3], args[4]))
        elif func is torch.ops.aten.convolution_backward.default:
            self.calls.append((True, args[2].shape[2:], args[4], args[5]))
        return func(*args, **(kwargs or {}))


def _unsafe(
    backward: bool, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> bool:
    jumps = any(k == 1 and step > 1 for k, step in zip(kernel, stride, strict=True))
    return jumps and (backward or any(padding))


def test_a_process_survives_kernels_one_wide_that_jump_over_padding() -> None:
    """In a process of its own: where torch crashes, it takes its process with it."""
    command, variables = scripts.command(jumping_convs), scripts.environment()
    ran = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.strip() == "survived"


@pytest.mark.parametrize("kind", jumping_convs.KINDS)
@pytest.mark.parametrize("shape", jumping_convs.SHAPES, ids=str)
def test_torch_is_not_asked_for_what_it_may_crash_on(shape: tuple[object, ...], kind: str) -> None:
    """Also where this CPU's kernels would survive it."""
    conv = jumping_convs.layer(shape, kind)
    for x in jumping_convs.inputs(conv):
        with _Convolutions() as asked:
            with torch.no_grad():
                conv(x)
            conv(x.requires_grad_()).sum().backward()
        assert not [call for call in asked.calls if _unsafe(*call)]


@pytest.mark.parametrize("density", [1.0, 0.3])
@pytest.mark.parametrize("timed", [True, False])
def test_such_a_layer_runs_our_kernel_at_any_density(density: float, timed: bool) -> None:
    model = nn.Sequential(nn.Conv2d(1, 12, 1, stride=2, padding=1))
    example = torch.randn(1, 1, 2, 1) if timed else None
    (layer,) = sparsify(model, density=density, example_input=example).layers
    assert (layer.backend, layer.reason) == ("native", "")


@pytest.mark.parametrize(
    "how", [{"stride": 2}, {"padding": 1}, {"stride": 2, "padding": 1, "kernel_size": 3}], ids=str
)
def test_other_dense_layers_are_left_to_torch(how: dict[str, int]) -> None:
    model = nn.Sequential(
        nn.Conv2d(**{"in_channels": 4, "out_channels": 4, "kernel_size": 1} | how)
    )
    (layer,) = sparsify(model, density=1.0).layers
    assert layer.backend == "dense"
    with _Convolutions() as asked, torch.no_grad():
        model(torch.randn(2, 4, 6, 6))
    conv = model[0]
    assert isinstance(conv, SparseConv2d)
    assert asked.calls == [(False, conv.kernel_size, list(conv.stride), list(conv.padding))]


def test_a_padding_of_another_kind_is_kept() -> None:
    conv = nn.Conv2d(3, 4, 1, stride=2, padding=1, padding_mode="reflect")
    model = nn.Sequential(conv)
    sparsify(model, density=1.0)
    x = torch.randn(2, 3, 5, 4)
    expected = conv.double()(x.double())
    torch.testing.assert_close(model.float()(x).double(), expected.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("padding", [0, 1])
def test_maps_keep_their_layout(padding: int) -> None:
    conv = jumping_convs.layer((8, 16, 1, (1, 1), (2, 2), (padding, padding)), "dense")
    x = torch.randn(2, 8, 9, 7)
    assert conv(x).is_contiguous()
    y = conv(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_a_single_image_stays_single() -> None:
    conv = jumping_convs.layer(jumping_convs.SHAPES[0], "dense")
    x = torch.randn(1, 3, 2)
    assert torch.equal(conv(x), conv(x[None])[0])
