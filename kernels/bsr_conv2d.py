"""2-D convolution with a block-sparse weight as an implicit GEMM over NHWC: forward, gradients.

A row of the GEMM is a pixel, a block of the weight holds R output x C input channels of one tap:
for each stored block, a tile of pixels shifted by the tap is read where it lies and multiplied.
"""

from __future__ import annotations

from torch import Tensor

from sparse_ovs.conv_size import checked_output_size
from sparse_ovs.kernels import contracts
from sparse_ovs.kernels._triton import tl, triton
from sparse_ovs.kernels.epilogue import store_block, store_output, store_rows
from sparse_ovs.kernels.launch import empty_nhwc, launch, tile_count
from sparse_ovs.kernels.programs import (
    and_unless,
    block_pointers,
    own_block,
    own_tile,
    row_pointers,
    rows_of_split,
    stored_blocks,
    transposed_block_pointers,
)
from sparse_ovs.kernels.splits import sum_in_parts
from sparse_ovs.kernels.tiles import Tile, tile_for, weight_gradient_tile_for

Pair = tuple[int, int]


@triton.jit
def forward_kernel(
    x_ptr,
    values_ptr,
    row_ptr,
    taps_ptr,
    channels_ptr,
    bias_ptr,
    residual_ptr,
    y_ptr,
    M,
    O,  # noqa: E741
    I,  # noqa: E741
    H,
    W,
    OH,
    OW,
    stride_h,
    stride_w,
    pad_h,
    pad_w,
    dilation_h,
    dilation_w,
    KW: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_I: tl.constexpr,
    EVEN_I: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
):
    """One program: BLOCK_M of the M = N * OH * OW output pixels, one block row."""
    block_row, pixels = own_tile(O, BLOCK_M, BLOCK_O)
    outs = block_row * BLOCK_O + tl.arange(0, BLOCK_O)
    ins = tl.arange(0, BLOCK_I)
    inside = pixels < M
    start, end = stored_blocks(row_ptr, block_row)

    # Where the tap (0, 0) of each pixel lies; in the padding it is outside x and is not read.
    lines = pixels // OW
    left = pixels % OW * stride_w - pad_w
    top = lines % OH * stride_h - pad_h
    corner = ((lines // OH).to(tl.int64) * H + top) * W + left
    x_rows = row_pointers(x_ptr, corner, I, ins)
    block = transposed_block_pointers(values_ptr, start, BLOCK_O, BLOCK_I)
    acc = tl.zeros((BLOCK_M, BLOCK_O), dtype=tl.float32)
    for i in tl.range(start, end, num_stages=STAGES):
        tap = tl.load(taps_ptr + i)
        first = tl.load(channels_ptr + i) * BLOCK_I
        down = tap // KW * dilation_h
        right = tap % KW * dilation_w
        mask = inside & (top + down >= 0) & (top + down < H)
        mask = mask & (left + right >= 0) & (left + right < W)
        mask = and_unless(EVEN_I, mask[:, None], (first + ins < I)[None, :])
        x = tl.load(x_rows + ((down * W + right) * I + first), mask=mask, other=0.0)
        weight = tl.load(block)
        block += BLOCK_O * BLOCK_I
        acc = tl.dot(x, weight, acc, input_precision=PRECISION)

    places = pixels.to(tl.int64)[:, None] * O + outs[None, :]
    residual_ptrs = None
    if residual_ptr is not None:
        residual_ptrs = residual_ptr + places
    mask = inside[:, None] & (outs < O)[None, :]
    store_output(acc, y_ptr + places, mask, bias_ptr, outs, O, residual_ptrs, ACTIVATION)


@triton.jit
def input_gradient_kernel(
    grad_ptr,
    values_ptr,
    row_ptr,
    blocks_ptr,
    rows_ptr,
    taps_ptr,
    out_ptr,
    M,
    O,  # noqa: E741
    I,  # noqa: E741
    H,
    W,
    OH,
    OW,
    pad_h,
    pad_w,
    dilation_h,
    dilation_w,
    STRIDE_H: tl.constexpr,
    STRIDE_W: tl.constexpr,
    KW: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_I: tl.constexpr,
    EVEN_O: tl.constexpr,
    PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
):
    """One program: BLOCK_M of the M = N * H * W input pixels, one block of input channels."""
    channel_block, pixels = own_tile(I, BLOCK_M, BLOCK_I)
    outs = tl.arange(0, BLOCK_O)
    inside = pixels < M
    start, end = stored_blocks(row_ptr, channel_block)

    lines = pixels // W
    left = pixels % W + pad_w
    top = lines % H + pad_h
    image = (lines // H).to(tl.int64) * OH
    block = block_pointers(values_ptr, BLOCK_O, BLOCK_I)
    acc = tl.zeros((BLOCK_M, BLOCK_I), dtype=tl.float32)
    for i in tl.range(start, end, num_stages=STAGES):
        tap = tl.load(taps_ptr + i)
        first = tl.load(rows_ptr + i) * BLOCK_O
        # The output pixel that reads this input pixel through the tap, where the stride meets one.
        down = top - tap // KW * dilation_h
        right = left - tap % KW * dilation_w
        mask = inside & (down >= 0) & (right >= 0)
        if STRIDE_H > 1:
            mask = mask & (down % STRIDE_H == 0)
            down = down // STRIDE_H
        if STRIDE_W > 1:
            mask = mask & (right % STRIDE_W == 0)
            right = right // STRIDE_W
        mask = mask & (down < OH) & (right < OW)
        mask = and_unless(EVEN_O, mask[:, None], (first + outs < O)[None, :])
        place = ((image + down) * OW + right) * O
        grad = tl.load(grad_ptr + place[:, None] + (first + outs)[None, :], mask=mask, other=0.0)
        weight = tl.load(block + tl.load(blocks_ptr + i).to(tl.int64) * (BLOCK_O * BLOCK_I))
        acc = tl.dot(grad, weight, acc, input_precision=PRECISION)

    ins = channel_block * BLOCK_I + tl.arange(0, BLOCK_I)
    store_rows(acc, out_ptr, pixels, I, inside, ins, I)


@triton.jit
def weight_gradient_kernel(
    grad_ptr,
    x_ptr,
    block_rows_ptr,
    taps_ptr,
    channels_ptr,
    out_ptr,
    M,
    O,  # noqa: E741
    I,  # noqa: E741
    H,
    W,
    OH,
    OW,
    stride_h,
    stride_w,
    pad_h,
    pad_w,
    dilation_h,
    dilation_w,
    blocks,
    length,
    KW: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_I: tl.constexpr,
    EVEN_O: tl.constexpr,
    EVEN_I: tl.constexpr,
    PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
):
    """One program: one stored block, over `length` output pixels; out is (splits, blocks, R, C)."""
    block, split, outs, ins = own_block(block_rows_ptr, channels_ptr, blocks, BLOCK_O, BLOCK_I)
    tap = tl.load(taps_ptr + block)
    down = tap // KW * dilation_h - pad_h
    right = tap % KW * dilation_w - pad_w
    start, end = rows_of_split(split, length, M)

    acc = tl.zeros((BLOCK_O, BLOCK_I), dtype=tl.float32)
    for first in tl.range(start, end, BLOCK_M, num_stages=STAGES):
        pixels = first + tl.arange(0, BLOCK_M)
        inside = pixels < end
        lines = pixels // OW
        left = pixels % OW * stride_w + right
        top = lines % OH * stride_h + down
        grad_mask = and_unless(EVEN_O, inside[None, :], (outs < O)[:, None])
        x_mask = inside & (top >= 0) & (top < H) & (left >= 0) & (left < W)
        x_mask = and_unless(EVEN_I, x_mask[:, None], (ins < I)[None, :])
        grad_places = pixels.to(tl.int64)[None, :] * O + outs[:, None]
        x_places = ((lines // OH).to(tl.int64) * H + top) * W + left
        # (R, pixels) and (pixels, C)
        grad = tl.load(grad_ptr + grad_places, mask=grad_mask, other=0.0)
        x = tl.load(row_pointers(x_ptr, x_places, I, ins), mask=x_mask, other=0.0)
        acc = tl.dot(grad, x, acc, input_precision=PRECISION)

    store_block(acc, out_ptr, BLOCK_O, BLOCK_I)


def forward(
    x: Tensor,
    values: Tensor,
    row_ptr: Tensor,
    taps: Tensor,
    channels: Tensor,
    out_channels: int,
    kernel_size: Pair,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    precision: str = "tf32",
    tile: Tile | None = None,
) -> Tensor:
    """activation(conv2d(x, weight, stride, padding, dilation) + bias + residual).

    Args:
        x: (N, I, H, W), channels_last in memory, float16, bfloat16 or float32.
        values, row_ptr, taps, channels: of a `BsrWeight` (O, I, kh, kw), of x's dtype and device.
        out_channels, kernel_size: O and (kh, kw).
        bias: (O,) of x's dtype or float32.
        residual: (N, O, OH, OW), channels_last, of x's dtype.
        activation: None, "relu" or "gelu" (the exact one).
        stride, padding, dilation: (vertical, horizontal).
        precision: of float32 products: "tf32" or "ieee".
        tile: None takes the tested one of `tiles.tile_for`.

    Returns:
        (N, O, OH, OW), channels_last, of x's dtype; sums are float32, in ascending order of
        (tap, input channel).

    Raises:
        TypeError, ValueError: arguments that break these rules.
        RuntimeError: no GPU.
    """
    contracts.check_nhwc("x", x)
    block = contracts.check_bsr(values, row_ptr, out_channels, 0, x, taps=taps, channels=channels)
    contracts.check_epilogue(bias, out_channels, activation, x)
    batch, in_channels, *size = x.shape
    out_size = checked_output_size(size, kernel_size, stride, padding, dilation)
    if residual is not None:
        contracts.check_nhwc("residual", residual, (batch, out_channels, *out_size), x)
    tile = tile or tile_for(block, x.dtype, precision)
    contracts.check_device("x", x)

    y = empty_nhwc(x, (batch, out_channels, *out_size))
    pixels = batch * out_size[0] * out_size[1]
    launch(
        forward_kernel,
        tile_count(pixels, out_channels, tile.rows, block[0]),
        (x, values, row_ptr, taps, channels, bias, residual, y),
        (pixels, out_channels, in_channels, *size, *out_size, *stride, *padding, *dilation),
        KW=kernel_size[1],
        EVEN_I=in_channels % block[1] == 0,
        ACTIVATION=activation,
        **tile.constants(block, precision),
    )
    return y


def input_gradient(
    grad: Tensor,
    values: Tensor,
    row_ptr: Tensor,
    blocks: Tensor,
    rows: Tensor,
    taps: Tensor,
    input_shape: tuple[int, int, int, int],
    kernel_size: Pair,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    precision: str = "tf32",
    tile: Tile | None = None,
) -> Tensor:
    """The gradient of conv2d's input.

    Args:
        grad: (N, O, OH, OW), of conv2d's output, channels_last.
        values: of a `formats.BsrWeight`, of grad's dtype and device.
        row_ptr, blocks, rows, taps: of its `transpose`.
        input_shape: (N, I, H, W).
        kernel_size, stride, padding, dilation, precision, tile: see `forward`.

    Returns:
        (N, I, H, W), channels_last, of grad's dtype; sums are float32, in ascending order of
        (output channel, tap).

    Raises:
        TypeError, ValueError, RuntimeError: see `forward`.
    """
    batch, in_channels, *size = input_shape
    out_size = checked_output_size(size, kernel_size, stride, padding, dilation)
    contracts.check_nhwc("grad", grad, (batch, -1, *out_size))
    block = contracts.check_bsr(
        values, row_ptr, in_channels, 1, grad, blocks=blocks, rows=rows, taps=taps
    )
    tile = tile or tile_for(block, grad.dtype, precision)
    contracts.check_device("grad", grad)

    out_channels = grad.shape[1]
    out = empty_nhwc(grad, input_shape)
    contracts.check_nhwc("the input", out, input_shape)
    pixels = batch * size[0] * size[1]
    launch(
        input_gradient_kernel,
        tile_count(pixels, in_channels, tile.rows, block[1]),
        (grad, values, row_ptr, blocks, rows, taps, out),
        (pixels, out_channels, in_channels, *size, *out_size, *padding, *dilation),
        STRIDE_H=stride[0],
        STRIDE_W=stride[1],
        KW=kernel_size[1],
        EVEN_O=out_channels % block[0] == 0,
        **tile.constants(block, precision),
    )
    return out


def weight_gradient(
    grad: Tensor,
    x: Tensor,
    block_rows: Tensor,
    taps: Tensor,
    channels: Tensor,
    block: Pair,
    kernel_size: Pair,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    precision: str = "tf32",
    tile: Tile | None = None,
) -> Tensor:
    """The stored blocks of conv2d's weight gradient; what lies in no block is never computed.

    Args:
        grad: (N, O, OH, OW), of conv2d's output, channels_last.
        x: (N, I, H, W) of the same dtype, channels_last.
        block_rows, taps, channels: of a `formats.BsrWeight`.
        block: (R, C), of it.
        kernel_size, stride, padding, dilation, precision: see `forward`.
        tile: None takes the tested one of `tiles.weight_gradient_tile_for`.

    Returns:
        (blocks, R, C) of grad's dtype, zero in the slots past the weight; sums are float32, in an
        order that follows from the shapes alone.

    Raises:
        TypeError, ValueError, RuntimeError: see `forward`.
    """
    contracts.check_nhwc("x", x)
    batch, in_channels, *size = x.shape
    out_size = checked_output_size(size, kernel_size, stride, padding, dilation)
    contracts.check_nhwc("grad", grad, (batch, -1, *out_size), x)
    count = contracts.check_stored(x, channels, block_rows=block_rows, taps=taps)
    tile = tile or weight_gradient_tile_for(block, x.dtype, precision)
    contracts.check_device("x", x)

    out_channels = grad.shape[1]
    pixels = batch * out_size[0] * out_size[1]
    return sum_in_parts(
        weight_gradient_kernel,
        (grad, x, block_rows, taps, channels),
        (pixels, out_channels, in_channels, *size, *out_size, *stride, *padding, *dilation),
        count,
        block,
        tile,
        precision,
        KW=kernel_size[1],
        EVEN_O=out_channels % block[0] == 0,
        EVEN_I=in_channels % block[1] == 0,
    )
