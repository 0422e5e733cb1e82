"""Launchers of the CUDA kernels: which variant and grid a problem gets, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sparse_ovs.formats import to_csr, to_two_four
from sparse_ovs.ops.cuda import TILES, csr_conv2d, csr_matmul, sp24_conv2d, sp24_linear
from sparse_ovs.ops.cuda.launch import int32s

CONV = torch.ones(24, 16, 3, 3)
LINEAR = torch.ones(24, 16)


def maps(*shape: int, dtype: torch.dtype = torch.float16) -> Tensor:
    return torch.ones(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)


def test_channels_last_activations_are_read_as_they_are_and_the_output_is_channels_last() -> None:
    x = maps(2, 16, 5, 6)
    launch, y = sp24_conv2d(x, to_two_four(CONV), padding=(1, 1))
    assert launch.arguments[0].data_ptr() == x.data_ptr()
    assert y.shape == (2, 24, 5, 6)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_contiguous_activations_become_channels_last() -> None:
    launch, _ = sp24_conv2d(maps(1, 16, 3, 3).contiguous(), to_two_four(CONV))
    assert launch.arguments[0].shape == (1, 3, 3, 16)
    assert launch.arguments[0].is_contiguous()


@pytest.mark.parametrize(
    ("channels", "out_channels", "flags"), [(16, 24, (1, 1)), (15, 24, (0, 1)), (16, 23, (1, 0))]
)
def test_vectors_of_16_bytes_are_used_where_channels_allow(
    channels: int, out_channels: int, flags: tuple[int, int]
) -> None:
    weight = to_two_four(torch.ones(out_channels, channels))
    defines = sp24_linear(torch.ones(3, channels).half(), weight)[0].defines
    assert (defines["CHANNELS_ALIGNED"], defines["OUT_ALIGNED"]) == flags


def test_activations_that_begin_between_vectors_are_not_read_as_vectors() -> None:
    x = torch.ones(3 * 16 + 1).half()[1:].view(3, 16)
    assert sp24_linear(x, to_two_four(LINEAR))[0].defines["CHANNELS_ALIGNED"] == 0
    x = torch.ones(16 * 8 + 1)[1:].view(16, 8)
    assert csr_matmul(x, to_csr(LINEAR))[0].defines["VECTOR"] == 1


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "pointwise"),
    [
        ((1, 1), (1, 1), (0, 0), True),
        ((3, 3), (1, 1), (0, 0), False),
        ((1, 1), (2, 1), (0, 0), False),
        ((1, 1), (1, 1), (0, 1), False),
    ],
)
def test_only_plain_1x1_convolutions_of_tensor_cores_are_pointwise(
    kernel: tuple[int, int], stride: Any, padding: Any, pointwise: bool
) -> None:
    weight = to_two_four(torch.ones(8, 16, *kernel))
    launch, _ = sp24_conv2d(maps(1, 16, 5, 5), weight, stride=stride, padding=padding)
    assert launch.defines["POINTWISE"] == pointwise


def test_the_largest_tile_that_fills_a_gpu_is_taken() -> None:
    def tile_of(rows: int, pixels: int) -> tuple[int, int]:
        weight = to_two_four(torch.ones(rows, 8))
        defines = sp24_linear(torch.ones(pixels, 8).half(), weight)[0].defines
        return defines["ROWS"], defines["PIXELS"]

    assert tile_of(128, 96 * 128) == (128, 128)
    assert tile_of(128, 95 * 128) == (64, 64)
    assert tile_of(16, 64) == (64, 32)


def test_the_grid_covers_rows_and_pixels() -> None:
    launch, _ = sp24_linear(torch.ones(65, 16).half(), to_two_four(LINEAR), tile=TILES[1])
    assert launch.grid == (2, 1, 1)
    assert launch.threads == 128
    launch, _ = csr_conv2d(torch.ones(3, 16, 20, 20), to_csr(CONV))
    assert launch.grid == (2, 6, 3)  # 324 pixels by 256, 24 channels by 4


@pytest.mark.parametrize(
    ("pixels", "vector", "runs"), [(4, 4, 1), (132, 4, 2), (31, 1, 1), (49, 1, 2), (999, 1, 8)]
)
def test_lanes_of_csr_direct_get_as_many_pixels_as_there_are(
    pixels: int, vector: int, runs: int
) -> None:
    launch, _ = csr_matmul(torch.ones(16, pixels), to_csr(LINEAR))
    assert (launch.defines["VECTOR"], launch.defines["RUNS"]) == (vector, runs)


def test_a_padded_image_is_contiguous_also_where_x_is_channels_last() -> None:
    x = maps(1, 16, 4, 4, dtype=torch.float32)
    launch, _ = csr_conv2d(x, to_csr(CONV), padding=(1, 2))
    assert launch.arguments[0].shape == (1, 16, 6, 8)
    assert launch.arguments[0].is_contiguous()


def test_an_empty_batch_has_nothing_to_do() -> None:
    assert 0 in sp24_conv2d(maps(0, 16, 5, 5), to_two_four(CONV))[0].grid
    assert 0 in csr_conv2d(torch.ones(0, 16, 5, 5), to_csr(CONV))[0].grid
    assert 0 in csr_matmul(torch.ones(16, 0), to_csr(LINEAR))[0].grid


_SP_CONV = (sp24_conv2d, maps(1, 16, 5, 5), to_two_four(CONV))
_SP_LINEAR = (sp24_linear, torch.ones(3, 16).half(), to_two_four(LINEAR))
_CSR_CONV = (csr_conv2d, torch.ones(1, 16, 5, 5), to_csr(CONV))
_CSR_MATMUL = (csr_matmul, torch.ones(16, 3), to_csr(LINEAR))


@pytest.mark.parametrize("call", [_SP_CONV, _SP_LINEAR, _CSR_CONV, _CSR_MATMUL])
def test_what_does_not_belong_together_is_refused(
    call: tuple[Callable[..., Any], Any, Any],
) -> None:
    function, x, weight = call
    with pytest.raises(TypeError, match=f"expected x of {x.dtype}, as the weight is, got"):
        function(x.double(), weight)
    with pytest.raises(ValueError, match="expected x on cpu, as the weight is, got meta"):
        function(x.to("meta"), weight)
    with pytest.raises(ValueError, match=r"expected x of [24] dimensions"):
        function(x[0], weight)
    channel_dim = 0 if function is csr_matmul else 1
    with pytest.raises(ValueError, match=f"expected 16 channels in dimension {channel_dim} of x"):
        function(torch.cat((x, x), channel_dim), weight)
    with pytest.raises(TypeError, match=r"expected bias of torch\.float32, got torch\.float64"):
        function(x, weight, torch.ones(24).double())
    with pytest.raises(ValueError, match=r"expected bias of shape \(24,\), got \(16,\)"):
        function(x, weight, torch.ones(16))
    with pytest.raises(TypeError, match=f"expected added of {x.dtype}, got torch.float64"):
        function(x, weight, None, torch.ones(1).double())
    with pytest.raises(ValueError, match="expected added of shape"):
        function(x, weight, None, x.new_ones(1))
    with pytest.raises(ValueError, match="expected bias on cpu, got meta"):
        function(x, weight, torch.ones(24, device="meta"))


@pytest.mark.parametrize("call", [_SP_CONV, _CSR_CONV])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": (0, 1)}, r"expected stride of two numbers from 1 up, got \(0, 1\)"),
        ({"padding": (0, -1)}, r"expected padding of two numbers from 0 up, got \(0, -1\)"),
        ({"dilation": (1,)}, r"expected dilation of two numbers from 1 up, got \(1,\)"),
        ({"dilation": (1, 3)}, "expected an input of at least 3 x 7"),
    ],
)
def test_windows_that_make_no_sense_are_refused(
    call: tuple[Callable[..., Any], Any, Any], options: dict[str, Any], message: str
) -> None:
    function, x, weight = call
    with pytest.raises(ValueError, match=message):
        function(x, weight, **options)


def test_a_weight_of_the_other_kind_of_layer_is_refused() -> None:
    for function, x, weight in (
        (sp24_conv2d, maps(1, 16, 5, 5), to_two_four(LINEAR)),
        (csr_conv2d, torch.ones(1, 16, 5, 5), to_csr(LINEAR)),
        (sp24_linear, torch.ones(3, 16).half(), to_two_four(CONV)),
        (csr_matmul, torch.ones(16, 3), to_csr(CONV)),
    ):
        with pytest.raises(ValueError, match=r"expected a weight \(O, I"):
            function(x, weight)


def test_sizes_that_need_more_than_32_bits_are_refused() -> None:
    assert [number.value for number in int32s(2**31 - 1, -1)] == [2**31 - 1, -1]
    with pytest.raises(ValueError, match=r"expected sizes below 2\^31, got 2147483648"):
        int32s(2**31)
