"""What the launchers refuse, and how they say it: nothing here reaches a GPU."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from sparse_ovs.formats import pack_bsr

pytest.importorskip("triton", reason="triton is not installed")

from sparse_ovs.kernels import avg_pool2d, bsr_conv2d, bsr_linear, unavailable_reason
from sparse_ovs.kernels.splits import split_rows
from sparse_ovs.kernels.tiles import BLOCKS, tile_for


def nhwc(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)


LINEAR = pack_bsr(torch.ones(40, 24), None, (16, 16))
CONV = pack_bsr(torch.ones(40, 24, 3, 3), None, (16, 16))


def linear_forward(**change: Any) -> None:
    arguments: dict[str, Any] = {
        "x": torch.ones(5, 24),
        "values": LINEAR.values,
        "row_ptr": LINEAR.row_ptr,
        "channels": LINEAR.channels,
        "out_features": 40,
    }
    bsr_linear.forward(**arguments | change)


def conv_forward(**change: Any) -> None:
    arguments: dict[str, Any] = {
        "x": nhwc(2, 24, 5, 6),
        "values": CONV.values,
        "row_ptr": CONV.row_ptr,
        "taps": CONV.taps,
        "channels": CONV.channels,
        "out_channels": 40,
        "kernel_size": (3, 3),
    }
    bsr_conv2d.forward(**arguments | change)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.ones(5, 24).double()}, TypeError, "expected x of float16, bfloat16 or"),
        ({"x": torch.ones(2, 5, 24)}, ValueError, r"expected x of shape \(rows, 24\)"),
        ({"x": torch.ones(24, 5).t()}, ValueError, "expected x with contiguous rows"),
        ({"values": LINEAR.values.half()}, TypeError, "expected values of dtype torch.float32"),
        ({"values": LINEAR.values.mT}, ValueError, "expected contiguous values"),
        ({"row_ptr": LINEAR.row_ptr[1:]}, ValueError, r"row_ptr of shape \(4,\), got \(3,\)"),
        ({"row_ptr": LINEAR.row_ptr.long()}, TypeError, "expected row_ptr of dtype torch.int32"),
        ({"channels": LINEAR.channels[1:]}, ValueError, r"channels of shape \(6,\)"),
        ({"bias": torch.ones(39)}, ValueError, r"expected bias of shape \(40,\)"),
        ({"bias": torch.ones(40).half()}, TypeError, "expected bias of dtype torch.float32"),
        ({"residual": torch.ones(5, 41)}, ValueError, r"expected residual of shape \(5, 40\)"),
        ({"residual": torch.ones(5, 40).half()}, TypeError, "expected residual of dtype"),
        ({"activation": "tanh"}, ValueError, "expected activation None, 'relu' or 'gelu'"),
        ({"precision": "tf16"}, ValueError, "expected precision 'tf32' or 'ieee'"),
    ],
)
def test_a_linear_refuses_what_it_cannot_run(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        linear_forward(**change)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.ones(2, 24, 5, 6)}, ValueError, "expected x in channels_last layout"),
        ({"x": torch.ones(24, 5, 6)}, ValueError, r"expected x of shape \(N, C, H, W\)"),
        ({"taps": CONV.taps[1:]}, ValueError, "expected contiguous taps of shape"),
        ({"stride": (0, 1)}, ValueError, "expected stride of two numbers from 1 up"),
        ({"padding": (0, -1)}, ValueError, "expected padding of two numbers from 0 up"),
        ({"dilation": (3, 1)}, ValueError, "expected an input of at least 7 x 3"),
        ({"residual": nhwc(2, 40, 5, 6)}, ValueError, r"residual of shape \(2, 40, 3, 4\)"),
        ({"residual": torch.ones(2, 40, 3, 4)}, ValueError, "residual in channels_last layout"),
        ({"bias": torch.ones(24)}, ValueError, r"expected bias of shape \(40,\)"),
    ],
)
def test_a_conv_refuses_what_it_cannot_run(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        conv_forward(**change)


def test_gradients_refuse_what_does_not_fit_the_forward() -> None:
    transpose = CONV.transpose
    structure = (transpose.row_ptr, transpose.blocks, transpose.rows, transpose.taps)
    with pytest.raises(ValueError, match=r"expected grad of shape \(2, C, 3, 4\)"):
        bsr_conv2d.input_gradient(nhwc(2, 40, 5, 6), CONV.values, *structure, (2, 24, 5, 6), (3, 3))
    with pytest.raises(ValueError, match=r"row_ptr of shape \(4,\), got \(3,\)"):
        bsr_conv2d.input_gradient(nhwc(2, 40, 3, 4), CONV.values, *structure, (2, 40, 5, 6), (3, 3))
    with pytest.raises(TypeError, match=r"expected grad of dtype torch\.float32"):
        bsr_conv2d.weight_gradient(
            nhwc(2, 40, 3, 4, dtype=torch.float16),
            nhwc(2, 24, 5, 6),
            CONV.block_rows,
            CONV.taps,
            CONV.channels,
            CONV.block,
            (3, 3),
        )
    with pytest.raises(ValueError, match=r"expected x of shape \(5, 24\), got \(4, 24\)"):
        bsr_linear.weight_gradient(
            torch.ones(5, 40),
            torch.ones(4, 24),
            LINEAR.block_rows,
            LINEAR.channels,
            LINEAR.block,
        )


def test_pooling_refuses_windows_larger_than_its_input() -> None:
    with pytest.raises(ValueError, match="expected a kernel_size from 1 to 3"):
        avg_pool2d.forward(nhwc(1, 4, 3, 5), 4)
    with pytest.raises(ValueError, match=r"expected grad of shape \(N, C, 1, 2\)"):
        avg_pool2d.input_gradient(nhwc(1, 4, 3, 5), 2, (3, 5))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_the_error_says_so() -> None:
    with pytest.raises(RuntimeError, match="expected a GPU that triton can use, got none"):
        linear_forward()


def test_blocks_that_no_kernel_is_built_for_are_named() -> None:
    with pytest.raises(ValueError, match=r"blocks of 16x16, 16x64, 32x32, 64x64 .* got 4x1"):
        tile_for((4, 1), torch.float16)
    for block in BLOCKS:
        assert tile_for(block, torch.bfloat16) == tile_for(block, torch.float16)


@pytest.mark.parametrize("rows", [0, 1, 64, 65, 10_000, 1_000_000])
@pytest.mark.parametrize("blocks", [0, 1, 37, 5000])
def test_the_parts_of_a_sum_cover_all_rows_once(rows: int, blocks: int) -> None:
    length, splits = split_rows(rows, blocks, 64)
    assert length % 64 == 0
    assert splits >= 1
    assert (splits - 1) * length < max(rows, 1) <= splits * length


def test_the_package_imports_without_triton_and_its_kernels_say_what_is_missing() -> None:
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "import sparse_ovs, sparse_ovs.kernels as k\n"
        "print(k.unavailable_reason())\n"
        "try:\n    import sparse_ovs.kernels.bsr_linear\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    reason, message = done.stdout.splitlines()
    assert reason == message
    assert reason == "expected triton, in which the GPU kernels are written, got no such package"
    assert unavailable_reason() == ""
