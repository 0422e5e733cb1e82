"""sparse_ovs::linear: [relu](x @ weight.T + bias) with a packed sparse weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.formats import MaskFit
from sparse_ovs.ops.conv import conv2d_unsupported
from sparse_ovs.ops.layer import Layer
from sparse_ovs.ops.layout import empty_output
from sparse_ovs.ops.streams import streams_of
from sparse_ovs.threads import get_num_threads

torch.library.define(
    "sparse_ovs::linear",
    "(Tensor x, Tensor weight, Tensor mask, Tensor? bias, Tensor indices, Tensor row_ptr, "
    "int block_rows, bool relu) -> Tensor",
    tags=(torch.Tag.needs_fixed_stride_order,),
)


def linear(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    bias: Tensor | None,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    relu: bool = False,
) -> Tensor:
    """Sparse linear layer over the last dimension.

    Args:
        x: (..., I), copied if not contiguous; for dtypes and devices see `conv2d`.
        weight: (O, I) float32, dense with zeros; see `conv2d`.
        mask: bool like weight, True where the structure stores one; it masks the weight's gradient.
        bias: (O,) or None.
        indices, row_ptr, block_rows: structure of a `formats.PackedWeight`.

    Returns:
        (..., O) of x's dtype, contiguous.
    """
    return torch.ops.sparse_ovs.linear(x, weight, mask, bias, indices, row_ptr, block_rows, relu)


def linear_unsupported(
    *,
    dtype: torch.dtype,
    device: torch.device,
    weight_shape: Sequence[int],
    fit: Callable[[], MaskFit],
) -> list[str]:
    """Reasons why no kernel runs this problem; empty if one does. See `conv2d_unsupported`."""
    return conv2d_unsupported(dtype=dtype, device=device, weight_shape=weight_shape, fit=fit)


@torch.library.register_fake("sparse_ovs::linear")
def _linear_fake(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    bias: Tensor | None,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    relu: bool,
) -> Tensor:
    return x.new_empty([*x.shape[:-1], weight.shape[0]])


@torch.library.impl("sparse_ovs::linear", "CPU")
def _linear_cpu(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    bias: Tensor | None,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    relu: bool,
) -> Tensor:
    if x.dtype != torch.float32:
        raise TypeError(f"expected a float32 input, got {x.dtype}")
    if x.dim() < 1 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"expected an input (..., {weight.shape[1]}), got {tuple(x.shape)}")
    x = x.contiguous()
    out = empty_output([*x.shape[:-1], weight.shape[0]], torch.contiguous_format)
    if out.numel() == 0:
        return out
    # Tokens are the pixels of a channels_last map of one row.
    tokens = x.numel() // x.shape[-1]
    threads = get_num_threads()
    plans = streams_of(indices).plan(
        Layer(weight, bias, [], 0.0, indices, row_ptr, block_rows, 1),
        (tokens, relu, threads),
        lambda weights: _native.conv_plan(
            weights,
            (1, weight.shape[1], 1, tokens),
            _native.NHWC,
            (1, 1),
            (0, 0),
            (1, 1),
            relu,
            None,
            threads,
        ),
    )
    with plans as plan:
        plan.run([x.data_ptr()], out.data_ptr(), threads)
    return out


def _linear_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    x, weight, mask, _, indices, row_ptr, block_rows, relu = inputs
    # Only the weight's gradient reads the input: frozen layers let go of it.
    kept = x if ctx.needs_input_grad[1] else x.new_empty(0)
    ctx.save_for_backward(kept, weight, mask, indices, row_ptr, *([output] if relu else []))
    ctx.x_shape, ctx.block_rows, ctx.relu = x.shape, block_rows, relu


def _linear_backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
    x, weight, mask, indices, row_ptr, *output = ctx.saved_tensors
    if ctx.relu:
        grad = grad * (output[0] > 0)
    needs_x, needs_weight, _, needs_bias = ctx.needs_input_grad[:4]
    grad_x, grad_weight = torch.ops.sparse_ovs.linear_gradients(
        grad,
        x if needs_weight else grad.new_empty(1).expand(ctx.x_shape),
        weight,
        mask,
        indices,
        row_ptr,
        ctx.block_rows,
        needs_x,
        needs_weight,
    )
    return (
        grad_x if needs_x else None,
        grad_weight if needs_weight else None,
        None,
        grad.reshape(-1, grad.shape[-1]).sum(0) if needs_bias else None,
        *[None] * 4,
    )


torch.library.register_autograd(
    "sparse_ovs::linear", _linear_backward, setup_context=_linear_context
)
