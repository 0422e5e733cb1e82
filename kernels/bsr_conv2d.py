"""2-D convolution with a block-sparse weight as an implicit GEMM over NHWC: forward, gradients.

A row of the GEMM is a pixel, a block of the weight holds R output x C input channels of one tap:
for each stored block, a tile of pixels shifted by the tap is read where it lies and multiplied.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs.kernels import contracts
from sparse_ovs.kernels._triton import tl, triton
from sparse_ovs.kernels.epilogue import store_output
from sparse_ovs.kernels.splits import split_rows, sum_splits
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
    block_rows = tl.cdiv(O, BLOCK_O)
    block_row = tl.program_id(0) % block_rows
    pixels = tl.program_id(0) // block_rows * BLOCK_M + tl.arange(0, BLOCK_M)
    outs = block_row * BLOCK_O + tl.arange(0, BLOCK_O)
    ins = tl.arange(0, BLOCK_I)
    inside = pixels < M
    start = tl.load(row_ptr + block_row)
    end = tl.load(row_ptr + block_row + 1)

    # Where the tap (0, 0) of each pixel lies; in the padding it is outside x and is not read.
    lines = pixels // OW
    left = pixels % OW * stride_w - pad_w
    top = lines % OH * stride_h - pad_h
    corner = ((lines // OH).to(tl.int64) * H + top) * W + left
    x_rows = x_ptr + corner[:, None] * I + ins[None, :]
    # The stored (R, C), read as (C, R).
    block = values_ptr + start.to(tl.int64) * (BLOCK_O * BLOCK_I)
    block = block + tl.arange(0, BLOCK_O)[None, :] * BLOCK_I + ins[:, None]
    acc = tl.zeros((BLOCK_M, BLOCK_O), dtype=tl.float32)
    for i in tl.range(start, end, num_stages=STAGES):
        tap = tl.load(taps_ptr + i)
        first = tl.load(channels_ptr + i) * BLOCK_I
        down = tap // KW * dilation_h
        right = tap % KW * dilation_w
        mask = inside & (top + down >= 0) & (top + down < H)
        mask = (mask & (left + right >= 0) & (left + right < W))[:, None]
        if not EVEN_I:
            mask = mask & (first + ins < I)[None, :]
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
    channel_blocks = tl.cdiv(I, BLOCK_I)
    channel_block = tl.program_id(0) % channel_blocks
    pixels = tl.program_id(0) // channel_blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    outs = tl.arange(0, BLOCK_O)
    inside = pixels < M
    start = tl.load(row_ptr + channel_block)
    end = tl.load(row_ptr + channel_block + 1)

    lines = pixels // W
    left = pixels % W + pad_w
    top = lines % H + pad_h
    image = (lines // H).to(tl.int64) * OH
    block = values_ptr + outs[:, None] * BLOCK_I + tl.arange(0, BLOCK_I)[None, :]
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
        mask = (mask & (down < OH) & (right < OW))[:, None]
        if not EVEN_O:
            mask = mask & (first + outs < O)[None, :]
        place = ((image + down) * OW + right) * O
        grad = tl.load(grad_ptr + place[:, None] + (first + outs)[None, :], mask=mask, other=0.0)
        weight = tl.load(block + tl.load(blocks_ptr + i).to(tl.int64) * (BLOCK_O * BLOCK_I))
        acc = tl.dot(grad, weight, acc, input_precision=PRECISION)

    channels = channel_block * BLOCK_I + tl.arange(0, BLOCK_I)
    out_ptrs = out_ptr + pixels.to(tl.int64)[:, None] * I + channels[None, :]
    mask = inside[:, None] & (channels < I)[None, :]
    tl.store(out_ptrs, acc.to(out_ptr.dtype.element_ty), mask=mask)


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
    block = tl.program_id(0) % blocks
    split = tl.program_id(0) // blocks
    outs = tl.load(block_rows_ptr + block) * BLOCK_O + tl.arange(0, BLOCK_O)
    ins = tl.load(channels_ptr + block) * BLOCK_I + tl.arange(0, BLOCK_I)
    tap = tl.load(taps_ptr + block)
    down = tap // KW * dilation_h - pad_h
    right = tap % KW * dilation_w - pad_w
    end = tl.minimum(split * length + length, M)

    acc = tl.zeros((BLOCK_O, BLOCK_I), dtype=tl.float32)
    for first in tl.range(split * length, end, BLOCK_M, num_stages=STAGES):
        pixels = first + tl.arange(0, BLOCK_M)
        inside = pixels < end
        lines = pixels // OW
        left = pixels % OW * stride_w + right
        top = lines % OH * stride_h + down
        grad_mask = inside[None, :]
        if not EVEN_O:
            grad_mask = grad_mask & (outs < O)[:, None]
        x_mask = (inside & (top >= 0) & (top < H) & (left >= 0) & (left < W))[:, None]
        if not EVEN_I:
            x_mask = x_mask & (ins < I)[None, :]
        grad_places = pixels.to(tl.int64)[None, :] * O + outs[:, None]
        x_places = ((lines // OH).to(tl.int64) * H + top) * W + left
        # (R, pixels) and (pixels, C)
        grad = tl.load(grad_ptr + grad_places, mask=grad_mask, other=0.0)
        x = tl.load(x_ptr + x_places[:, None] * I + ins[None, :], mask=x_mask, other=0.0)
        acc = tl.dot(grad, x, acc, input_precision=PRECISION)

    place = (
        tl.program_id(0).to(tl.int64) * (BLOCK_O * BLOCK_I)
        + tl.arange(0, BLOCK_O)[:, None] * BLOCK_I
        + tl.arange(0, BLOCK_I)[None, :]
    )
    tl.store(out_ptr + place, acc.to(out_ptr.dtype.element_ty))


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
        values, row_ptr, taps, channels: of a `formats.BsrWeight` (O, I, kh, kw), of x's dtype and
            device.
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
    contracts.check_activations("x", x)
    contracts.check_nhwc("x", x, (-1, -1, -1, -1))
    count, block_o, block_i = contracts.check_values(values, x)
    contracts.check_vectors(
        x,
        row_ptr=(row_ptr, -(-out_channels // block_o) + 1),
        taps=(taps, count),
        channels=(channels, count),
    )
    contracts.check_epilogue(bias, out_channels, activation, x)
    batch, in_channels, height, width = x.shape
    out_height, out_width = output_size((height, width), kernel_size, stride, padding, dilation)
    if residual is not None:
        contracts.check_activations("residual", residual, x)
        contracts.check_nhwc("residual", residual, (batch, out_channels, out_height, out_width))
    tile = tile or tile_for((block_o, block_i), x.dtype, precision)
    contracts.check_device("x", x)

    y = _empty_nhwc(x, (batch, out_channels, out_height, out_width))
    pixels = batch * out_height * out_width
    if pixels:
        grid = (-(-pixels // tile.rows) * -(-out_channels // block_o),)
        with torch.cuda.device_of(x):
            forward_kernel[grid](
                x,
                values,
                row_ptr,
                taps,
                channels,
                bias,
                residual,
                y,
                pixels,
                out_channels,
                in_channels,
                height,
                width,
                out_height,
                out_width,
                *stride,
                *padding,
                *dilation,
                KW=kernel_size[1],
                BLOCK_M=tile.rows,
                BLOCK_O=block_o,
                BLOCK_I=block_i,
                EVEN_I=in_channels % block_i == 0,
                ACTIVATION=activation,
                PRECISION=precision,
                STAGES=tile.stages,
                num_warps=tile.warps,
                num_stages=tile.stages,
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
    batch, in_channels, height, width = input_shape
    out_height, out_width = output_size((height, width), kernel_size, stride, padding, dilation)
    contracts.check_activations("grad", grad)
    contracts.check_nhwc("grad", grad, (batch, -1, out_height, out_width))
    count, block_o, block_i = contracts.check_values(values, grad)
    contracts.check_vectors(
        grad,
        row_ptr=(row_ptr, -(-in_channels // block_i) + 1),
        blocks=(blocks, count),
        rows=(rows, count),
        taps=(taps, count),
    )
    tile = tile or tile_for((block_o, block_i), grad.dtype, precision)
    contracts.check_device("grad", grad)

    out_channels = grad.shape[1]
    out = _empty_nhwc(grad, input_shape)
    contracts.check_nhwc("the input", out, input_shape)
    pixels = batch * height * width
    if pixels:
        grid = (-(-pixels // tile.rows) * -(-in_channels // block_i),)
        with torch.cuda.device_of(grad):
            input_gradient_kernel[grid](
                grad,
                values,
                row_ptr,
                blocks,
                rows,
                taps,
                out,
                pixels,
                out_channels,
                in_channels,
                height,
                width,
                out_height,
                out_width,
                *padding,
                *dilation,
                STRIDE_H=stride[0],
                STRIDE_W=stride[1],
                KW=kernel_size[1],
                BLOCK_M=tile.rows,
                BLOCK_O=block_o,
                BLOCK_I=block_i,
                EVEN_O=out_channels % block_o == 0,
                PRECISION=precision,
                STAGES=tile.stages,
                num_warps=tile.warps,
                num_stages=tile.stages,
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
    contracts.check_activations("x", x)
    contracts.check_nhwc("x", x, (-1, -1, -1, -1))
    batch, in_channels, height, width = x.shape
    out_height, out_width = output_size((height, width), kernel_size, stride, padding, dilation)
    contracts.check_activations("grad", grad, x)
    contracts.check_nhwc("grad", grad, (batch, -1, out_height, out_width))
    count = channels.numel()
    contracts.check_vectors(
        x, block_rows=(block_rows, count), taps=(taps, count), channels=(channels, count)
    )
    tile = tile or weight_gradient_tile_for(block, x.dtype, precision)
    contracts.check_device("x", x)

    out_channels = grad.shape[1]
    pixels = batch * out_height * out_width
    length, splits = split_rows(pixels, count, tile.rows)
    out = x.new_empty((splits, count, *block), dtype=x.dtype if splits == 1 else torch.float32)
    if count:
        with torch.cuda.device_of(x):
            weight_gradient_kernel[(splits * count,)](
                grad,
                x,
                block_rows,
                taps,
                channels,
                out,
                pixels,
                out_channels,
                in_channels,
                height,
                width,
                out_height,
                out_width,
                *stride,
                *padding,
                *dilation,
                count,
                length,
                KW=kernel_size[1],
                BLOCK_M=tile.rows,
                BLOCK_O=block[0],
                BLOCK_I=block[1],
                EVEN_O=out_channels % block[0] == 0,
                EVEN_I=in_channels % block[1] == 0,
                PRECISION=precision,
                STAGES=tile.direct_stages,
                num_warps=tile.warps_for(*block),
                num_stages=tile.direct_stages,
            )
    return sum_splits(out, x.dtype)


def output_size(size: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Pair:
    """(OH, OW) of a convolution over (H, W).

    Raises:
        ValueError: a kernel, stride or dilation below 1, negative padding, or a kernel that is
            larger than the padded input.
    """
    for name, pair, least in (
        ("kernel_size", kernel_size, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
    ):
        if len(pair) != 2 or min(pair) < least:
            raise ValueError(f"expected {name} of two numbers from {least} up, got {pair!r}")
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel_size, strict=True)]
    height, width = (
        (n + 2 * p - span) // s + 1
        for n, p, span, s in zip(size, padding, spans, stride, strict=True)
    )
    if height < 1 or width < 1:
        raise ValueError(
            f"expected an input of at least {spans[0]} x {spans[1]} with its padding, "
            f"got {size[0]} x {size[1]} with padding {padding}"
        )
    return height, width


def _empty_nhwc(like: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
    """(N, C, H, W), channels_last also where a size is 1."""
    batch, channels, height, width = shape
    return like.new_empty(batch, height, width, channels).permute(0, 3, 1, 2)
