"""sparse_ovs::conv2d: [relu](norm(conv2d(x, weight) + bias) + residual), weight sparse."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.conv_size import output_size
from sparse_ovs.formats import MaskFit
from sparse_ovs.ops.backends import family_of
from sparse_ovs.ops.cuda import choose
from sparse_ovs.ops.cuda.request import GPU_DTYPES, conv_arithmetic, linear_arithmetic
from sparse_ovs.ops.layer import Layer, fold_norm
from sparse_ovs.ops.layout import empty_output, memory_format, native_layout
from sparse_ovs.ops.streams import streams_of
from sparse_ovs.threads import get_num_threads

torch.library.define(
    "sparse_ovs::conv2d",
    "(Tensor x, Tensor weight, Tensor mask, Tensor? bias, Tensor[] norm, Tensor? residual, "
    "Tensor indices, Tensor row_ptr, int block_rows, int[] stride, int[] padding, int[] dilation, "
    "int groups, float eps, bool relu) -> Tensor",
    tags=(torch.Tag.needs_fixed_stride_order,),
)


def conv2d(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    bias: Tensor | None,
    norm: Sequence[Tensor],
    residual: Tensor | None,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    eps: float = 0.0,
    relu: bool = False,
) -> Tensor:
    """Sparse 2d convolution with a fused eval-mode BatchNorm, residual and ReLU.

    Args:
        x: (N, C, H, W): float32 on the CPU; float32, float16 or bfloat16 on a GPU. channels_last
            stays channels_last; other strides are copied.
        weight: (O, C / groups, kh, kw) float32 (on a GPU any of the three, whatever x is), dense
            with zeros. Only the places that the structure names are read; in-place writes through
            torch are noticed at the next call.
        mask: bool like weight, True where the structure stores one; it masks the weight's gradient.
        bias: (O,) or None.
        norm: [] or [gamma, beta, running_mean, running_var], each (O,), of a BatchNorm with `eps`.
        residual: of the output's shape, added before the ReLU, or None.
        indices, row_ptr, block_rows: structure of a `formats.PackedWeight` (16-bit indices also as
            int16 bits).
        stride, padding, dilation: (vertical, horizontal).

    Returns:
        (N, O, H', W') of x's dtype and layout.

    Weights outside the structure never touch x: NaN or Inf under them do not spread, unlike in a
    dense convolution.
    """
    return torch.ops.sparse_ovs.conv2d(
        x,
        weight,
        mask,
        bias,
        list(norm),
        residual,
        indices,
        row_ptr,
        block_rows,
        list(stride),
        list(padding),
        list(dilation),
        groups,
        eps,
        relu,
    )


def conv2d_unsupported(
    *,
    dtype: torch.dtype,
    device: torch.device,
    weight_shape: Sequence[int],
    fit: Callable[[], MaskFit],
    groups: int = 1,
) -> list[str]:
    """Reasons why no kernel runs this problem; empty if one does.

    Args:
        fit: how the mask fits the formats of GPUs; asked for only where that matters.
    """
    reasons = []
    family = family_of(device)
    if family is None:
        reasons.append(f"{device.type} has no kernel")
    if family == "native" and _native.unavailable_reason():
        reasons.append(_native.unavailable_reason())
    name = str(dtype).removeprefix("torch.")
    if family == "native" and dtype != torch.float32:
        reasons.append(f"{name} has no CPU kernel")
    if family == "cuda" and dtype not in GPU_DTYPES:
        reasons.append(f"{name} has no GPU kernel")
    if family == "cuda" and groups != 1:
        reasons.append("grouped convolutions have no GPU kernel")
    if len(weight_shape) not in (2, 4):
        reasons.append(f"a weight of rank {len(weight_shape)} has no kernel")
    if family == "cuda" and not reasons:
        arithmetic = linear_arithmetic if len(weight_shape) == 2 else conv_arithmetic
        reasons += choose.unsupported_reasons(fit(), arithmetic(dtype))
    return reasons


def _check_map(x: Tensor, weight: Tensor, stride: Sequence[int], groups: int) -> None:
    if x.dtype != torch.float32:
        raise TypeError(f"expected a float32 map, got {x.dtype}")
    channels = weight.shape[1] * groups
    if x.dim() != 4 or x.shape[1] != channels:
        raise ValueError(f"expected a map (N, {channels}, H, W), got {tuple(x.shape)}")
    if min(stride) < 1:
        raise ValueError(f"expected strides of at least 1, got {tuple(stride)}")


def _output_shape(
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    size = output_size(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    return [x.shape[0], weight.shape[0], *size]


@torch.library.register_fake("sparse_ovs::conv2d")
def _conv2d_fake(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    bias: Tensor | None,
    norm: list[Tensor],
    residual: Tensor | None,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    eps: float,
    relu: bool,
) -> Tensor:
    shape = _output_shape(x, weight, stride, padding, dilation)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


@torch.library.impl("sparse_ovs::conv2d", "CPU")
def _conv2d_cpu(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    bias: Tensor | None,
    norm: list[Tensor],
    residual: Tensor | None,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    eps: float,
    relu: bool,
) -> Tensor:
    _check_map(x, weight, stride, groups)
    shape = _output_shape(x, weight, stride, padding, dilation)
    if min(shape[2:]) < 1:
        raise ValueError(f"expected an input at least as large as the kernel, got {tuple(x.shape)}")
    if residual is not None and list(residual.shape) != shape:
        raise ValueError(
            f"expected a residual of shape {tuple(shape)}, got {tuple(residual.shape)}"
        )
    if residual is not None and residual.dtype != torch.float32:
        raise TypeError(f"expected a float32 residual, got {residual.dtype}")
    form = memory_format(x)
    x = x.contiguous(memory_format=form)
    out = empty_output(shape, form)
    if out.numel() == 0:
        return out
    inputs = [x]
    if residual is not None:
        inputs.append(residual.contiguous(memory_format=form))
    # A map of one pixel is the same memory in both layouts; as channels_last its batch is one run
    # of pixels.
    single_pixel = x.shape[2:].numel() == 1 and out.shape[2:].numel() == 1
    layout = _native.NHWC if single_pixel else native_layout(form)
    threads = get_num_threads()
    key = (tuple(x.shape), layout, residual is None, relu, threads, *stride, *padding, *dilation)
    layer = Layer(weight, bias, norm, eps, indices, row_ptr, block_rows, groups)
    plans = streams_of(indices).plan(
        layer,
        key,
        lambda weights: _native.conv_plan(
            weights,
            x.shape,
            layout,
            stride,
            padding,
            dilation,
            relu,
            None if residual is None else residual.shape,
            threads,
        ),
    )
    with plans as plan:
        plan.run([t.data_ptr() for t in inputs], out.data_ptr(), threads)
    return out


def _conv2d_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    x, weight, mask, bias, norm, residual = inputs[:6]
    ctx.conv, (eps, relu) = inputs[9:13], inputs[13:]
    # Only the weight's gradient reads the input: frozen layers let go of it.
    keeps_x = ctx.needs_input_grad[1] or bool(norm)
    kept = [x if keeps_x else x.new_empty(0), weight, mask, *inputs[6:8], *norm]
    if bias is not None:
        kept.append(bias)
    if relu:
        kept.append(output)
    ctx.save_for_backward(*kept)
    ctx.x_shape, ctx.block_rows = x.shape, inputs[8]
    ctx.has_norm, ctx.has_bias, ctx.has_residual = (
        bool(norm),
        bias is not None,
        residual is not None,
    )
    ctx.eps, ctx.relu = eps, relu


def _conv2d_backward(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
    kept = list(ctx.saved_tensors)
    x, weight, mask, indices, row_ptr = kept[:5]
    norm = kept[5:9] if ctx.has_norm else []
    bias = kept[5 + len(norm)] if ctx.has_bias else None
    if ctx.relu:
        grad = grad * (kept[-1] > 0)
    grad_residual = grad if ctx.has_residual else None
    needs_x, needs_weight, _, needs_bias = ctx.needs_input_grad[:4]

    def gradients(grad: Tensor, need_input: bool, need_weight: bool) -> tuple[Tensor, Tensor]:
        inputs = x if need_weight else grad.new_empty(1).expand(ctx.x_shape)
        structure = (indices, row_ptr, ctx.block_rows)
        return torch.ops.sparse_ovs.conv2d_gradients(
            grad, inputs, weight, mask, *structure, *ctx.conv, need_input, need_weight
        )

    if not norm:
        grad_x, grad_weight = gradients(grad, needs_x, needs_weight)
        return (
            grad_x if needs_x else None,
            grad_weight if needs_weight else None,
            None,
            grad.sum((0, 2, 3)) if needs_bias else None,
            [],
            grad_residual,
            *[None] * 9,
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
    grad_norm = [
        grad_scale * inverse_deviation,
        grad_shift,
        -grad_shift * scale,
        -0.5 * grad_scale * gamma * inverse_deviation**3,
    ]
    return (
        grad_x if needs_x else None,
        grad_used * scale[:, None, None, None],
        None,
        grad_shift * scale if ctx.has_bias else None,
        grad_norm,
        grad_residual,
        *[None] * 9,
    )


torch.library.register_autograd(
    "sparse_ovs::conv2d", _conv2d_backward, setup_context=_conv2d_context
)
