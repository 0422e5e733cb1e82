"""The backward pass of sparse_ovs::conv2d."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparse_ovs.ops.arguments import in_order
from sparse_ovs.ops.conv_call import ConvCall
from sparse_ovs.ops.layer import fold_norm


def save_for_backward(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    """Keeps what `backward` reads."""
    call = ConvCall.of(*inputs)
    layer = call.layer
    # Only the weight's gradient reads the input: frozen layers let go of it.
    keeps_x = ctx.needs_input_grad[1] or bool(layer.norm)
    ctx.save_for_backward(
        call.x if keeps_x else None,
        output if call.relu else None,
        layer.weight,
        layer.mask,
        layer.indices,
        layer.row_ptr,
        layer.bias,
        *layer.norm,
    )
    ctx.block_rows, ctx.groups, ctx.eps = layer.block_rows, layer.groups, layer.eps
    ctx.x_shape, ctx.geometry = call.x.shape, call.geometry
    ctx.has_residual = call.residual is not None


def backward(ctx, grad: Tensor) -> tuple[Any, ...]:  # type: ignore[no-untyped-def]
    """A gradient, or None, for each argument of the op, given that of its output."""
    x, output, weight, mask, indices, row_ptr, bias, *norm = ctx.saved_tensors
    if output is not None:
        grad = grad * (output > 0)
    grad_residual = grad if ctx.has_residual else None
    needs_x, needs_weight, _, needs_bias = ctx.needs_input_grad[:4]

    def gradients(grad: Tensor, need_input: bool, need_weight: bool) -> tuple[Tensor, Tensor]:
        inputs = x if need_weight else grad.new_empty(1).expand(ctx.x_shape)
        structure = (indices, row_ptr, ctx.block_rows)
        conv = (*ctx.geometry, ctx.groups)
        return torch.ops.sparse_ovs.conv2d_gradients(
            grad, inputs, weight, mask, *structure, *conv, need_input, need_weight
        )

    if not norm:
        grad_x, grad_weight = gradients(grad, needs_x, needs_weight)
        return in_order(
            ConvCall.of,
            x=grad_x if needs_x else None,
            weight=grad_weight if needs_weight else None,
            bias=grad.sum((0, 2, 3)) if needs_bias else None,
            norm=[],
            residual=grad_residual,
        )

    # out = (conv(x) + bias - mean) * scale + beta, with scale = gamma * rsqrt(var + eps)
    gamma, _, mean, var = norm
    scale, _ = fold_norm(bias, norm, ctx.eps, weight.shape[0])
    scaled = (grad * scale[:, None, None]).to(grad.dtype) if needs_x else grad
    grad_x, _ = gradients(scaled, needs_x, False)
    _, grad_used = gradients(grad, False, True)  # of weight * scale
    grad_shift = grad.sum((0, 2, 3))
    inverse_deviation = torch.rsqrt(var + ctx.eps)
    shift = mean if bias is None else mean - bias
    grad_scale = (grad_used * weight).sum((1, 2, 3)) - grad_shift * shift
    return in_order(
        ConvCall.of,
        x=grad_x if needs_x else None,
        weight=grad_used * scale[:, None, None, None],
        bias=None if bias is None else grad_shift * scale,
        norm=[
            grad_scale * inverse_deviation,
            grad_shift,
            -grad_shift * scale,
            -0.5 * grad_scale * gamma * inverse_deviation**3,
        ],
        residual=grad_residual,
    )
