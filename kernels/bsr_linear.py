"""Linear layer with a block-sparse weight: forward and both gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs.kernels import contracts
from sparse_ovs.kernels._triton import tl, triton
from sparse_ovs.kernels.epilogue import store_output
from sparse_ovs.kernels.splits import split_rows, sum_splits
from sparse_ovs.kernels.tiles import Tile, tile_for, weight_gradient_tile_for


@triton.jit
def forward_kernel(
    x_ptr,
    values_ptr,
    row_ptr,
    channels_ptr,
    bias_ptr,
    residual_ptr,
    y_ptr,
    M,
    O,  # noqa: E741
    I,  # noqa: E741
    x_stride,
    residual_stride,
    y_stride,
    BLOCK_M: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_I: tl.constexpr,
    EVEN_I: tl.constexpr,
    ACTIVATION: tl.constexpr,
    PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
):
    """One program: BLOCK_M rows of y, one block row. Neighbours share rows of x (in L2)."""
    block_rows = tl.cdiv(O, BLOCK_O)
    block_row = tl.program_id(0) % block_rows
    rows = tl.program_id(0) // block_rows * BLOCK_M + tl.arange(0, BLOCK_M)
    outs = block_row * BLOCK_O + tl.arange(0, BLOCK_O)
    ins = tl.arange(0, BLOCK_I)
    inside = rows < M
    start = tl.load(row_ptr + block_row)
    end = tl.load(row_ptr + block_row + 1)

    x_rows = x_ptr + rows.to(tl.int64)[:, None] * x_stride + ins[None, :]
    # The stored (R, C), read as (C, R).
    block = values_ptr + start.to(tl.int64) * (BLOCK_O * BLOCK_I)
    block = block + tl.arange(0, BLOCK_O)[None, :] * BLOCK_I + ins[:, None]
    acc = tl.zeros((BLOCK_M, BLOCK_O), dtype=tl.float32)
    for i in tl.range(start, end, num_stages=STAGES):
        first = tl.load(channels_ptr + i) * BLOCK_I
        mask = inside[:, None]
        if not EVEN_I:
            mask = mask & (first + ins < I)[None, :]
        x = tl.load(x_rows + first, mask=mask, other=0.0)
        weight = tl.load(block)
        block += BLOCK_O * BLOCK_I
        acc = tl.dot(x, weight, acc, input_precision=PRECISION)

    y_ptrs = y_ptr + rows.to(tl.int64)[:, None] * y_stride + outs[None, :]
    residual_ptrs = None
    if residual_ptr is not None:
        residual_ptrs = residual_ptr + rows.to(tl.int64)[:, None] * residual_stride + outs[None, :]
    mask = inside[:, None] & (outs < O)[None, :]
    store_output(acc, y_ptrs, mask, bias_ptr, outs, O, residual_ptrs, ACTIVATION)


@triton.jit
def input_gradient_kernel(
    grad_ptr,
    values_ptr,
    row_ptr,
    blocks_ptr,
    rows_ptr,
    out_ptr,
    M,
    O,  # noqa: E741
    I,  # noqa: E741
    grad_stride,
    out_stride,
    BLOCK_M: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_I: tl.constexpr,
    EVEN_O: tl.constexpr,
    PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
):
    """One program: BLOCK_M rows of the gradient, one block of input channels."""
    channel_blocks = tl.cdiv(I, BLOCK_I)
    channel_block = tl.program_id(0) % channel_blocks
    rows = tl.program_id(0) // channel_blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    outs = tl.arange(0, BLOCK_O)
    inside = rows < M
    start = tl.load(row_ptr + channel_block)
    end = tl.load(row_ptr + channel_block + 1)

    grad_rows = grad_ptr + rows.to(tl.int64)[:, None] * grad_stride + outs[None, :]
    block = values_ptr + outs[:, None] * BLOCK_I + tl.arange(0, BLOCK_I)[None, :]
    acc = tl.zeros((BLOCK_M, BLOCK_I), dtype=tl.float32)
    for i in tl.range(start, end, num_stages=STAGES):
        first = tl.load(rows_ptr + i) * BLOCK_O
        mask = inside[:, None]
        if not EVEN_O:
            mask = mask & (first + outs < O)[None, :]
        grad = tl.load(grad_rows + first, mask=mask, other=0.0)
        weight = tl.load(block + tl.load(blocks_ptr + i).to(tl.int64) * (BLOCK_O * BLOCK_I))
        acc = tl.dot(grad, weight, acc, input_precision=PRECISION)

    channels = channel_block * BLOCK_I + tl.arange(0, BLOCK_I)
    out_ptrs = out_ptr + rows.to(tl.int64)[:, None] * out_stride + channels[None, :]
    mask = inside[:, None] & (channels < I)[None, :]
    tl.store(out_ptrs, acc.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def weight_gradient_kernel(
    grad_ptr,
    x_ptr,
    block_rows_ptr,
    channels_ptr,
    out_ptr,
    M,
    O,  # noqa: E741
    I,  # noqa: E741
    grad_stride,
    x_stride,
    blocks,
    length,
    BLOCK_M: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_I: tl.constexpr,
    EVEN_O: tl.constexpr,
    EVEN_I: tl.constexpr,
    PRECISION: tl.constexpr,
    STAGES: tl.constexpr,
):
    """One program: one stored block, summed over `length` rows; out is (splits, blocks, R, C)."""
    block = tl.program_id(0) % blocks
    split = tl.program_id(0) // blocks
    outs = tl.load(block_rows_ptr + block) * BLOCK_O + tl.arange(0, BLOCK_O)
    ins = tl.load(channels_ptr + block) * BLOCK_I + tl.arange(0, BLOCK_I)
    end = tl.minimum(split * length + length, M)

    acc = tl.zeros((BLOCK_O, BLOCK_I), dtype=tl.float32)
    for first in tl.range(split * length, end, BLOCK_M, num_stages=STAGES):
        rows = first + tl.arange(0, BLOCK_M)
        inside = rows < end
        grad_mask = inside[None, :]
        if not EVEN_O:
            grad_mask = grad_mask & (outs < O)[:, None]
        x_mask = inside[:, None]
        if not EVEN_I:
            x_mask = x_mask & (ins < I)[None, :]
        far = rows.to(tl.int64)
        # (R, rows) and (rows, C)
        grad = tl.load(
            grad_ptr + far[None, :] * grad_stride + outs[:, None], mask=grad_mask, other=0.0
        )
        x = tl.load(x_ptr + far[:, None] * x_stride + ins[None, :], mask=x_mask, other=0.0)
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
    channels: Tensor,
    out_features: int,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str | None = None,
    precision: str = "tf32",
    tile: Tile | None = None,
) -> Tensor:
    """activation(x @ weight.T + bias + residual).

    Args:
        x: (M, I), rows contiguous, float16, bfloat16 or float32.
        values, row_ptr, channels: of a `formats.BsrWeight` (O, I), of x's dtype and device.
        out_features: O.
        bias: (O,) of x's dtype or float32.
        residual: (M, O) of x's dtype, rows contiguous.
        activation: None, "relu" or "gelu" (the exact one).
        precision: of float32 products: "tf32" or "ieee".
        tile: None takes the tested one of `tiles.tile_for`.

    Returns:
        (M, O) of x's dtype; sums are float32, in ascending order of the input channel.

    Raises:
        TypeError, ValueError: arguments that break these rules.
        RuntimeError: no GPU.
    """
    contracts.check_activations("x", x)
    contracts.check_matrix("x", x, x.shape[-1])
    rows, in_features = x.shape
    count, block_o, block_i = contracts.check_values(values, x)
    contracts.check_vectors(
        x,
        row_ptr=(row_ptr, -(-out_features // block_o) + 1),
        channels=(channels, count),
    )
    contracts.check_epilogue(bias, out_features, activation, x)
    if residual is not None:
        contracts.check_activations("residual", residual, x)
        contracts.check_matrix("residual", residual, out_features, rows)
    tile = tile or tile_for((block_o, block_i), x.dtype, precision)
    contracts.check_device("x", x)

    y = x.new_empty(rows, out_features)
    if rows:
        grid = (-(-rows // tile.rows) * -(-out_features // block_o),)
        with torch.cuda.device_of(x):
            forward_kernel[grid](
                x,
                values,
                row_ptr,
                channels,
                bias,
                residual,
                y,
                rows,
                out_features,
                in_features,
                x.stride(0),
                0 if residual is None else residual.stride(0),
                y.stride(0),
                BLOCK_M=tile.rows,
                BLOCK_O=block_o,
                BLOCK_I=block_i,
                EVEN_I=in_features % block_i == 0,
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
    in_features: int,
    precision: str = "tf32",
    tile: Tile | None = None,
) -> Tensor:
    """grad @ weight.

    Args:
        grad: (M, O), the gradient of x @ weight.T, rows contiguous.
        values: of a `formats.BsrWeight`, of grad's dtype and device.
        row_ptr, blocks, rows: of its `transpose`.
        in_features: I.
        precision, tile: see `forward`.

    Returns:
        (M, I) of grad's dtype; sums are float32, in ascending order of the output channel.

    Raises:
        TypeError, ValueError, RuntimeError: see `forward`.
    """
    contracts.check_activations("grad", grad)
    contracts.check_matrix("grad", grad, grad.shape[-1])
    count, block_o, block_i = contracts.check_values(values, grad)
    contracts.check_vectors(
        grad,
        row_ptr=(row_ptr, -(-in_features // block_i) + 1),
        blocks=(blocks, count),
        rows=(rows, count),
    )
    tile = tile or tile_for((block_o, block_i), grad.dtype, precision)
    contracts.check_device("grad", grad)

    size, out_features = grad.shape
    out = grad.new_empty(size, in_features)
    if size:
        grid = (-(-size // tile.rows) * -(-in_features // block_i),)
        with torch.cuda.device_of(grad):
            input_gradient_kernel[grid](
                grad,
                values,
                row_ptr,
                blocks,
                rows,
                out,
                size,
                out_features,
                in_features,
                grad.stride(0),
                out.stride(0),
                BLOCK_M=tile.rows,
                BLOCK_O=block_o,
                BLOCK_I=block_i,
                EVEN_O=out_features % block_o == 0,
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
    channels: Tensor,
    block: tuple[int, int],
    precision: str = "tf32",
    tile: Tile | None = None,
) -> Tensor:
    """The stored blocks of grad.T @ x; what lies in no block is never computed.

    Args:
        grad: (M, O), the gradient of x @ weight.T, rows contiguous.
        x: (M, I) of the same dtype, rows contiguous.
        block_rows, channels: of a `formats.BsrWeight`.
        block: (R, C), of it.
        precision: see `forward`.
        tile: None takes the tested one of `tiles.weight_gradient_tile_for`.

    Returns:
        (blocks, R, C) of grad's dtype, zero in the slots past the weight; sums are float32, in an
        order that follows from the shapes alone.

    Raises:
        TypeError, ValueError, RuntimeError: see `forward`.
    """
    contracts.check_activations("grad", grad)
    contracts.check_matrix("grad", grad, grad.shape[-1])
    size, out_features = grad.shape
    contracts.check_activations("x", x, grad)
    contracts.check_matrix("x", x, x.shape[-1], size)
    in_features = x.shape[1]
    count = channels.numel()
    contracts.check_vectors(grad, block_rows=(block_rows, count), channels=(channels, count))
    tile = tile or weight_gradient_tile_for(block, grad.dtype, precision)
    contracts.check_device("grad", grad)

    length, splits = split_rows(size, count, tile.rows)
    out = torch.empty(
        (splits, count, *block),
        dtype=grad.dtype if splits == 1 else torch.float32,
        device=grad.device,
    )
    if count:
        with torch.cuda.device_of(grad):
            weight_gradient_kernel[(splits * count,)](
                grad,
                x,
                block_rows,
                channels,
                out,
                size,
                out_features,
                in_features,
                grad.stride(0),
                x.stride(0),
                count,
                length,
                BLOCK_M=tile.rows,
                BLOCK_O=block[0],
                BLOCK_I=block[1],
                EVEN_O=out_features % block[0] == 0,
                EVEN_I=in_features % block[1] == 0,
                PRECISION=precision,
                STAGES=tile.direct_stages,
                num_warps=tile.warps_for(*block),
                num_stages=tile.direct_stages,
            )
    return sum_splits(out, grad.dtype)
