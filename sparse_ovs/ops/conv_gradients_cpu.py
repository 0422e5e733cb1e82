"""sparse_ovs::conv2d_gradients on the CPU: plans of the transposed weight, and dot products."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.conv_size import Geometry, Pair, output_size
from sparse_ovs.formats import fit_mask
from sparse_ovs.ops.arguments import takes
from sparse_ovs.ops.conv_call import ConvGradientCall
from sparse_ovs.ops.cuda.routes import BLOCKS
from sparse_ovs.ops.dense_gradients import dense_conv2d_gradients
from sparse_ovs.ops.layer import Layer
from sparse_ovs.ops.layout import empty_output, maps_layout
from sparse_ovs.ops.streams import streams_of
from sparse_ovs.ops.unsupported import conv2d_unsupported
from sparse_ovs.threads import get_num_threads


@takes(ConvGradientCall.of)
def conv2d_gradients_on_cpu(call: ConvGradientCall) -> tuple[Tensor, Tensor]:
    """See `ops.conv2d_gradients`."""
    grad, x, layer, form = call.grad, call.x, call.layer, call.form
    weight = layer.weight
    reasons = conv2d_unsupported(
        dtype=weight.dtype,
        device=weight.device,
        weight_shape=weight.shape,
        fit=lambda: fit_mask(layer.mask, BLOCKS),
        groups=layer.groups,
    )
    if reasons or grad.numel() == 0 or x.numel() == 0:
        return dense_conv2d_gradients(call)
    grad = grad.contiguous(memory_format=form)
    grad_x, grad_weight = grad.new_empty(0), weight.new_empty(0)
    if call.need_input:
        grad_x = _input_gradient(layer, grad, x.shape, call.geometry, form)
    if call.need_weight:
        x = x.contiguous(memory_format=form)
        grad_weight = _weight_gradient(layer, grad, x, call.geometry, form)
    return grad_x, grad_weight


def _input_gradient(
    layer: Layer,
    grad: Tensor,
    shape: Sequence[int],
    geometry: Geometry,
    form: torch.memory_format,
) -> Tensor:
    """(N, C, H, W): the transposed convolution of grad."""
    kernel = layer.weight.shape[2:]
    stride, padding, dilation = geometry
    if stride == (1, 1):
        return _transposed_conv(layer, grad, shape, padding, dilation, form)
    if tuple(kernel) == (1, 1) and padding == (0, 0):
        # Each output pixel reads one of the input: the others have no gradient.
        compact = [shape[0], shape[1], *grad.shape[2:]]
        found = _transposed_conv(layer, grad, compact, padding, dilation, form)
        return _spread(found, shape[2:], stride, form)
    # The convolution's outputs at stride 1, of which the others go nowhere.
    sizes = output_size(shape[2:], kernel, (1, 1), padding, dilation)
    return _transposed_conv(
        layer, _spread(grad, sizes, stride, form), shape, padding, dilation, form
    )


def _spread(x: Tensor, sizes: Sequence[int], stride: Pair, form: torch.memory_format) -> Tensor:
    """(N, C, *sizes): x's pixels `stride` apart, zeros between and behind them."""
    wide = torch.zeros((*x.shape[:2], *sizes), dtype=x.dtype, device=x.device)
    wide = wide.contiguous(memory_format=form)
    rows, cols = ((x.shape[2 + i] - 1) * stride[i] + 1 for i in range(2))
    wide[:, :, : rows : stride[0], : cols : stride[1]] = x
    return wide


def _transposed_conv(
    layer: Layer,
    grad: Tensor,
    shape: Sequence[int],
    padding: Pair,
    dilation: Pair,
    form: torch.memory_format,
) -> Tensor:
    """(N, C, H, W) of `shape`: the input's gradient at stride 1."""
    kernel = layer.weight.shape[2:]
    own = [dilation[i] * (kernel[i] - 1) - padding[i] for i in range(2)]
    if min(own) < 0:
        # Outputs that saw nothing but padding have no part in it.
        grad = F.pad(grad, [min(own[1], 0)] * 2 + [min(own[0], 0)] * 2)
        grad = grad.contiguous(memory_format=form)
        own = [max(size, 0) for size in own]
    out, threads = empty_output(shape, form), get_num_threads()
    layout = maps_layout(form, grad.shape, shape)
    plans = streams_of(layer.indices).transposed_plan(
        layer,
        (tuple(grad.shape), layout, threads, *own, *dilation),
        lambda weights: _native.conv_plan(
            weights, grad.shape, layout, (1, 1), own, dilation, False, None, threads
        ),
    )
    with plans as plan:
        plan.run([grad.data_ptr()], out.data_ptr(), threads)
    return out


def _weight_gradient(
    layer: Layer, grad: Tensor, x: Tensor, geometry: Geometry, form: torch.memory_format
) -> Tensor:
    """Of the weight's shape, zeros where nothing is stored."""
    out, threads = empty_output(layer.weight.shape, torch.contiguous_format), get_num_threads()
    layout = maps_layout(form, grad.shape, x.shape)
    product = streams_of(layer.indices).weight_gradient(
        layer,
        (tuple(x.shape), layout, threads, geometry),
        lambda weights: _native.WeightGradient(weights, x.shape, layout, *geometry, threads),
    )
    product.run(x.data_ptr(), grad.data_ptr(), out.data_ptr(), threads)
    return out
