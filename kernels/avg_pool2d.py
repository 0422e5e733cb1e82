"""Average pooling of k x k windows side by side over NHWC: forward and gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sparse_ovs.kernels import contracts
from sparse_ovs.kernels._triton import tl, triton
from sparse_ovs.kernels.launch import empty_nhwc, launch, tile_count
from sparse_ovs.kernels.programs import row_pointers

# A program's pixels and channels; 4 warps, so that a thread has 8 channels: 16 bytes of halves.
_PIXELS, _CHANNELS, _WARPS = 16, 64, 4


@triton.jit
def _tile_of_program(M, C, BLOCK_M: tl.constexpr, BLOCK_C: tl.constexpr):
    """BLOCK_M pixels, BLOCK_C channels, and which of them there are."""
    channel_blocks = tl.cdiv(C, BLOCK_C)
    pixels = tl.program_id(0) // channel_blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    channels = tl.program_id(0) % channel_blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    return pixels, channels, (pixels < M)[:, None] & (channels < C)[None, :]


@triton.jit
def forward_kernel(
    x_ptr,
    y_ptr,
    M,
    C,
    H,
    W,
    OH,
    OW,
    K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One program: BLOCK_M of the M = N * OH * OW output pixels, BLOCK_C channels."""
    pixels, channels, mask = _tile_of_program(M, C, BLOCK_M, BLOCK_C)
    lines = pixels // OW
    corner = ((lines // OH).to(tl.int64) * H + lines % OH * K) * W + pixels % OW * K
    windows = row_pointers(x_ptr, corner, C, channels)
    acc = tl.zeros((BLOCK_M, BLOCK_C), dtype=tl.float32)
    for tap in tl.static_range(K * K):
        step = (tap // K * W + tap % K) * C
        acc += tl.load(windows + step, mask=mask, other=0.0).to(tl.float32)
    y_ptrs = row_pointers(y_ptr, pixels, C, channels)
    tl.store(y_ptrs, (acc * (1.0 / (K * K))).to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def input_gradient_kernel(
    grad_ptr,
    out_ptr,
    M,
    C,
    H,
    W,
    OH,
    OW,
    K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One program: BLOCK_M of the M = N * H * W input pixels, BLOCK_C channels."""
    pixels, channels, stored = _tile_of_program(M, C, BLOCK_M, BLOCK_C)
    lines = pixels // W
    down = lines % H // K
    right = pixels % W // K
    # Lines and columns past the last whole window were not read: their gradient is zero.
    mask = stored & ((down < OH) & (right < OW))[:, None]
    source = ((lines // H).to(tl.int64) * OH + down) * OW + right
    grad_ptrs = row_pointers(grad_ptr, source, C, channels)
    grad = tl.load(grad_ptrs, mask=mask, other=0.0).to(tl.float32)
    out_ptrs = row_pointers(out_ptr, pixels, C, channels)
    tl.store(out_ptrs, (grad * (1.0 / (K * K))).to(out_ptr.dtype.element_ty), mask=stored)


def forward(x: Tensor, kernel_size: int) -> Tensor:
    """Means of k x k windows with stride k and no padding, as torch's AvgPool2d(k).

    Args:
        x: (N, C, H, W), channels_last in memory, float16, bfloat16 or float32.
        kernel_size: k, from 1 up to H and W.

    Returns:
        (N, C, H // k, W // k), channels_last, of x's dtype; sums are float32.

    Raises:
        TypeError, ValueError: arguments that break these rules.
        RuntimeError: no GPU.
    """
    contracts.check_nhwc("x", x)
    batch, channels, *size = x.shape
    out_size = _output_size(size, kernel_size)
    contracts.check_device("x", x)
    y = empty_nhwc(x, (batch, channels, *out_size))
    _launch(forward_kernel, x, y, size, out_size, kernel_size)
    return y


def input_gradient(grad: Tensor, kernel_size: int, size: tuple[int, int]) -> Tensor:
    """The gradient of the pooling's input.

    Args:
        grad: (N, C, H // k, W // k), channels_last in memory, of the pooling's output.
        kernel_size: k.
        size: (H, W) of the input.

    Returns:
        (N, C, H, W), channels_last, of grad's dtype.

    Raises:
        TypeError, ValueError, RuntimeError: see `forward`.
    """
    out_size = _output_size(size, kernel_size)
    contracts.check_nhwc("grad", grad, (-1, -1, *out_size))
    batch, channels = grad.shape[:2]
    out = empty_nhwc(grad, (batch, channels, *size))
    contracts.check_nhwc("the input", out, (batch, channels, *size))
    contracts.check_device("grad", grad)
    _launch(input_gradient_kernel, grad, out, size, out_size, kernel_size)
    return out


def _launch(
    kernel: Any,
    read: Tensor,
    written: Tensor,
    size: Sequence[int],
    out_size: Sequence[int],
    kernel_size: int,
) -> None:
    """Programs for all that is written; size and out_size are of the pooling's input and output."""
    batch, channels, height, width = written.shape
    pixels = batch * height * width
    launch(
        kernel,
        tile_count(pixels, channels, _PIXELS, _CHANNELS),
        (read, written),
        (pixels, channels, *size, *out_size),
        K=kernel_size,
        BLOCK_M=_PIXELS,
        BLOCK_C=_CHANNELS,
        num_warps=_WARPS,
    )


def _output_size(size: Sequence[int], kernel_size: int) -> tuple[int, int]:
    if not 1 <= kernel_size <= min(size):
        raise ValueError(
            f"expected a kernel_size from 1 to {min(size)} for an input of {size[0]} x {size[1]}, "
            f"got {kernel_size!r}"
        )
    return size[0] // kernel_size, size[1] // kernel_size
