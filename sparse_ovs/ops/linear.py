"""sparse_ovs::linear: [relu](x @ weight.T + bias) with a packed sparse weight."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.conv_size import Geometry
from sparse_ovs.ops.arguments import in_order, takes
from sparse_ovs.ops.cuda.on_gpu import linear_on_gpu
from sparse_ovs.ops.layout import empty_output
from sparse_ovs.ops.linear_call import LinearCall
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


@torch.library.register_fake("sparse_ovs::linear")
@takes(LinearCall.of)
def _linear_fake(call: LinearCall) -> Tensor:
    return call.x.new_empty([*call.x.shape[:-1], call.layer.weight.shape[0]])


@torch.library.impl("sparse_ovs::linear", "CPU")
@takes(LinearCall.of)
def _linear_cpu(call: LinearCall) -> Tensor:
    x, layer, relu = call.x, call.layer, call.relu
    out_features, in_features = layer.weight.shape[:2]
    if x.dtype != torch.float32:
        raise TypeError(f"expected a float32 input, got {x.dtype}")
    if x.dim() < 1 or x.shape[-1] != in_features:
        raise ValueError(f"expected an input (..., {in_features}), got {tuple(x.shape)}")
    x = x.contiguous()
    out = empty_output([*x.shape[:-1], out_features], torch.contiguous_format)
    if out.numel() == 0:
        return out
    # Tokens are the pixels of a channels_last map of one row.
    tokens = x.numel() // x.shape[-1]
    threads = get_num_threads()
    plans = streams_of(layer.indices).plan(
        layer,
        (tokens, relu, threads),
        lambda weights: _native.conv_plan(
            weights, (1, in_features, 1, tokens), _native.NHWC, *Geometry(), relu, None, threads
        ),
    )
    with plans as plan:
        plan.run([x.data_ptr()], out.data_ptr(), threads)
    return out


def _linear_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    call = LinearCall.of(*inputs)
    layer = call.layer
    # Only the weight's gradient reads the input: frozen layers let go of it.
    ctx.save_for_backward(
        call.x if ctx.needs_input_grad[1] else None,
        output if call.relu else None,
        layer.weight,
        layer.mask,
        layer.indices,
        layer.row_ptr,
    )
    ctx.x_shape, ctx.block_rows = call.x.shape, layer.block_rows


def _linear_backward(ctx, grad: Tensor) -> tuple[Any, ...]:  # type: ignore[no-untyped-def]
    x, output, weight, mask, indices, row_ptr = ctx.saved_tensors
    if output is not None:
        grad = grad * (output > 0)
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
    return in_order(
        LinearCall.of,
        x=grad_x if needs_x else None,
        weight=grad_weight if needs_weight else None,
        bias=grad.reshape(-1, grad.shape[-1]).sum(0) if needs_bias else None,
    )


torch.library.impl("sparse_ovs::linear", "CUDA", linear_on_gpu)
torch.library.register_autograd(
    "sparse_ovs::linear", _linear_backward, setup_context=_linear_context
)
