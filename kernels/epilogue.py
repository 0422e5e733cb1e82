"""What happens to a tile of sums before it is stored: bias, residual, activation."""

from sparse_ovs.kernels._triton import tl, triton

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
