"""How sums are stored: with bias, residual and activation, as rows, or as a block."""

from sparse_ovs.kernels._triton import tl, triton
from sparse_ovs.kernels.programs import row_pointers

ACTIVATIONS = (None, "relu", "gelu")


@triton.jit
def store_output(
    acc,
    y_ptrs,
    mask,
    bias_ptr,
    outs,
    O,  # noqa: E741
    residual_ptrs,
    ACTIVATION: tl.constexpr,
):
    """y = activation(acc + bias + residual), acc and all steps in float32; GELU is the exact one.

    acc, y_ptrs, mask and residual_ptrs are (rows, outputs), outs are the outputs' channels.
    """
    if bias_ptr is not None:
        acc += tl.load(bias_ptr + outs, mask=outs < O, other=0.0).to(tl.float32)[None, :]
    if residual_ptrs is not None:
        acc += tl.load(residual_ptrs, mask=mask, other=0.0).to(tl.float32)
    if ACTIVATION == "relu":
        acc = tl.where(acc < 0.0, 0.0, acc)  # NaN stays NaN, as in torch
    if ACTIVATION == "gelu":
        acc = 0.5 * acc * (1.0 + tl.erf(acc * 0.7071067811865476))
    tl.store(y_ptrs, acc.to(y_ptrs.dtype.element_ty), mask=mask)


@triton.jit
def store_rows(acc, out_ptr, rows, stride, inside, columns, count):
    """The sums themselves, into rows that are `stride` apart: those inside, columns below count."""
    out_ptrs = row_pointers(out_ptr, rows, stride, columns)
    mask = inside[:, None] & (columns < count)[None, :]
    tl.store(out_ptrs, acc.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def store_block(acc, out_ptr, BLOCK_O: tl.constexpr, BLOCK_I: tl.constexpr):
    """The program's own block, in (programs, R, C)."""
    place = (
        tl.program_id(0).to(tl.int64) * (BLOCK_O * BLOCK_I)
        + tl.arange(0, BLOCK_O)[:, None] * BLOCK_I
        + tl.arange(0, BLOCK_I)[None, :]
    )
    tl.store(out_ptr + place, acc.to(out_ptr.dtype.element_ty))
