"""Linear layer with a block-sparse weight: forward and both gradients."""

from __future__ import annotations

from torch import Tensor

from sparse_ovs.kernels import contracts
from sparse_ovs.kernels._triton import tl, triton
from sparse_ovs.kernels.epilogue import store_block, store_output, store_rows
from sparse_ovs.kernels.launch import launch, tile_count
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
    block_row, rows = own_tile(O, BLOCK_M, BLOCK_O)
    outs = block_row * BLOCK_O + tl.arange(0, BLOCK_O)
    ins = tl.arange(0, BLOCK_I)
    inside = rows < M
    start, end = stored_blocks(row_ptr, block_row)

    x_rows = row_pointers(x_ptr, rows, x_stride, ins)
    block = transposed_block_pointers(values_ptr, start, BLOCK_O, BLOCK_I)
    acc = tl.zeros((BLOCK_M, BLOCK_O), dtype=tl.float32)
    for i in tl.range(start, end, num_stages=STAGES):
        first = tl.load(channels_ptr + i) * BLOCK_I
        mask = and_unless(EVEN_I, inside[:, None], (first + ins < I)[None, :])
        x = tl.load(x_rows + first, mask=mask, other=0.0)
        weight = tl.load(block)
        block += BLOCK_O * BLOCK_I
        acc = tl.dot(x, weight, acc, input_precision=PRECISION)

    y_ptrs = row_pointers(y_ptr, rows, y_stride, outs)
    residual_ptrs = None
    if residual_ptr is not None:
        residual_ptrs = row_pointers(residual_ptr, rows, residual_stride, outs)
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
    channel_block, rows = own_tile(I, BLOCK_M, BLOCK_I)
    outs = tl.arange(0, BLOCK_O)
    inside = rows < M
    start, end = stored_blocks(row_ptr, channel_block)

    grad_rows = row_pointers(grad_ptr, rows, grad_stride, outs)
    block = block_pointers(values_ptr, BLOCK_O, BLOCK_I)
    acc = tl.zeros((BLOCK_M, BLOCK_I), dtype=tl.float32)
    for i in tl.range(start, end, num_stages=STAGES):
        first = tl.load(rows_ptr + i) * BLOCK_O
        mask = and_unless(EVEN_O, inside[:, None], (first + outs < O)[None, :])
        grad = tl.load(grad_rows + first, mask=mask, other=0.0)
        weight = tl.load(block + tl.load(blocks_ptr + i).to(tl.int64) * (BLOCK_O * BLOCK_I))
        acc = tl.dot(grad, weight, acc, input_precision=PRECISION)

    ins = channel_block * BLOCK_I + tl.arange(0, BLOCK_I)
    store_rows(acc, out_ptr, rows, out_stride, inside, ins, I)


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
    _, split, outs, ins = own_block(block_rows_ptr, channels_ptr, blocks, BLOCK_O, BLOCK_I)
    start, end = rows_of_split(split, length, M)

    acc = tl.zeros((BLOCK_O, BLOCK_I), dtype=tl.float32)
    for first in tl.range(start, end, BLOCK_M, num_stages=STAGES):
        rows = first + tl.arange(0, BLOCK_M)
        inside = rows < end
        grad_mask = and_unless(EVEN_O, inside[None, :], (outs < O)[:, None])
        x_mask = and_unless(EVEN_I, inside[:, None], (ins < I)[None, :])
        grad_ptrs = grad_ptr + rows.to(tl.int64)[None, :] * grad_stride + outs[:, None]
        # (R, rows) and (rows, C)
        grad = tl.load(grad_ptrs, mask=grad_mask, other=0.0)
        x = tl.load(row_pointers(x_ptr, rows, x_stride, ins), mask=x_mask, other=0.0)
        acc = tl.dot(grad, x, acc, input_precision=PRECISION)

    store_block(acc, out_ptr, BLOCK_O, BLOCK_I)


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
    contracts.check_matrix("x", x, x.shape[-1])
    rows, in_features = x.shape
    block = contracts.check_bsr(values, row_ptr, out_features, 0, x, channels=channels)
    contracts.check_epilogue(bias, out_features, activation, x)
    if residual is not None:
        contracts.check_matrix("residual", residual, out_features, rows, x)
    tile = tile or tile_for(block, x.dtype, precision)
    contracts.check_device("x", x)

    y = x.new_empty(rows, out_features)
    residual_stride = 0 if residual is None else residual.stride(0)
    launch(
        forward_kernel,
        tile_count(rows, out_features, tile.rows, block[0]),
        (x, values, row_ptr, channels, bias, residual, y),
        (rows, out_features, in_features, x.stride(0), residual_stride, y.stride(0)),
        EVEN_I=in_features % block[1] == 0,
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
    contracts.check_matrix("grad", grad, grad.shape[-1])
    block = contracts.check_bsr(values, row_ptr, in_features, 1, grad, blocks=blocks, rows=rows)
    tile = tile or tile_for(block, grad.dtype, precision)
    contracts.check_device("grad", grad)

    size, out_features = grad.shape
    out = grad.new_empty(size, in_features)
    launch(
        input_gradient_kernel,
        tile_count(size, in_features, tile.rows, block[1]),
        (grad, values, row_ptr, blocks, rows, out),
        (size, out_features, in_features, grad.stride(0), out.stride(0)),
        EVEN_O=out_features % block[0] == 0,
        **tile.constants(block, precision),
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
    contracts.check_matrix("grad", grad, grad.shape[-1])
    size, out_features = grad.shape
    contracts.check_matrix("x", x, x.shape[-1], size, grad)
    in_features = x.shape[1]
    count = contracts.check_stored(grad, channels, block_rows=block_rows)
    tile = tile or weight_gradient_tile_for(block, grad.dtype, precision)
    contracts.check_device("grad", grad)

    return sum_in_parts(
        weight_gradient_kernel,
        (grad, x, block_rows, channels),
        (size, out_features, in_features, grad.stride(0), x.stride(0)),
        count,
        block,
        tile,
        precision,
        EVEN_O=out_features % block[0] == 0,
        EVEN_I=in_features % block[1] == 0,
    )
