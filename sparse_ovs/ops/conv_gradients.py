"""sparse_ovs::conv2d_gradients: gradients of a sparse convolution's input and weight."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.conv_size import output_size
from sparse_ovs.formats import fit_mask
from sparse_ovs.ops.conv import conv2d_unsupported
from sparse_ovs.ops.cuda.routes import BLOCKS
from sparse_ovs.ops.layer import Layer
from sparse_ovs.ops.layout import empty_output, memory_format, native_layout
from sparse_ovs.ops.streams import streams_of
from sparse_ovs.threads import get_num_threads

torch.library.define(
    "sparse_ovs::conv2d_gradients",
    "(Tensor grad, Tensor x, Tensor weight, Tensor mask, Tensor indices, Tensor row_ptr, "
    "int block_rows, int[] stride, int[] padding, int[] dilation, int groups, bool need_input, "
    "bool need_weight) -> (Tensor, Tensor)",
    tags=(torch.Tag.needs_fixed_stride_order,),
)


def conv2d_gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    need_input: bool = True,
    need_weight: bool = True,
) -> tuple[Tensor, Tensor]:
    """Gradients of y = conv2d(x, weight).

    The input's is a sparse convolution of grad with the transposed weight; the weight's a sampled
    product: one dot product over the pixels for each weight that the structure names. What no
    kernel supports (`conv2d_unsupported`) runs dense torch on the masked weight.

    Args:
        grad: (N, O, H', W'), of y.
        x: (N, C, H, W); only its shape counts where the weight's gradient is not needed.
        weight, mask, indices, row_ptr, block_rows, stride, padding, dilation, groups: see `conv2d`.
        need_input, need_weight: which gradients to compute.

    Returns:
        The input's gradient, of x's shape, and the weight's, of weight's shape with zeros where
        mask is False. An empty tensor (0,) stands for one that is not needed.
    """
    return torch.ops.sparse_ovs.conv2d_gradients(
        grad,
        x,
        weight,
        mask,
        indices,
        row_ptr,
        block_rows,
        list(stride),
        list(padding),
        list(dilation),
        groups,
        need_input,
        need_weight,
    )


def gradient_form(grad: Tensor, x: Tensor, need_weight: bool) -> torch.memory_format:
    """The layout of both maps and of the input's gradient."""
    return memory_format(x if need_weight else grad)


@torch.library.register_fake("sparse_ovs::conv2d_gradients")
def _gradients_fake(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    need_input: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    grad_x, grad_weight = grad.new_empty(0), weight.new_empty(0)
    if need_input:
        form = gradient_form(grad, x, need_weight)
        grad_x = torch.empty(x.shape, dtype=x.dtype, device=x.device, memory_format=form)
    if need_weight:
        grad_weight = weight.new_empty(weight.shape)
    return grad_x, grad_weight


@torch.library.impl("sparse_ovs::conv2d_gradients", "CPU")
def _gradients_cpu(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    need_input: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    form = gradient_form(grad, x, need_weight)
    conv = (stride, padding, dilation, groups)
    reasons = conv2d_unsupported(
        dtype=weight.dtype,
        device=weight.device,
        weight_shape=weight.shape,
        fit=lambda: fit_mask(mask, BLOCKS),
        groups=groups,
    )
    if reasons or grad.numel() == 0 or x.numel() == 0:
        return dense_conv2d_gradients(grad, x, weight, mask, *conv, form, need_input, need_weight)
    layer = Layer(weight, None, [], 0.0, indices, row_ptr, block_rows, groups)
    grad = grad.contiguous(memory_format=form)
    grad_x, grad_weight = grad.new_empty(0), weight.new_empty(0)
    if need_input:
        grad_x = _input_gradient(layer, grad, x.shape, stride, padding, dilation, form)
    if need_weight:
        x = x.contiguous(memory_format=form)
        grad_weight = _weight_gradient(layer, grad, x, stride, padding, dilation, form)
    return grad_x, grad_weight


def _layout_of(form: torch.memory_format, *maps: Sequence[int]) -> int:
    """A map of one pixel is the same memory in both layouts; as channels_last its batch is one run
    of pixels."""
    single_pixel = all(shape[2] * shape[3] == 1 for shape in maps)
    return _native.NHWC if single_pixel else native_layout(form)


def _input_gradient(
    layer: Layer,
    grad: Tensor,
    shape: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    form: torch.memory_format,
) -> Tensor:
    """(N, C, H, W): the transposed convolution of grad."""
    kernel = layer.weight.shape[2:]
    if tuple(stride) == (1, 1):
        return _transposed_conv(layer, grad, shape, padding, dilation, form)
    if tuple(kernel) == (1, 1) and tuple(padding) == (0, 0):
        # Each output pixel reads one of the input: the others have no gradient.
        compact = [shape[0], shape[1], *grad.shape[2:]]
        found = _transposed_conv(layer, grad, compact, padding, dilation, form)
        return _spread(found, shape[2:], stride, form)
    # The convolution's outputs at stride 1, of which the others go nowhere.
    sizes = output_size(shape[2:], kernel, (1, 1), padding, dilation)
    return _transposed_conv(
        layer, _spread(grad, sizes, stride, form), shape, padding, dilation, form
    )


def _spread(
    x: Tensor, sizes: Sequence[int], stride: Sequence[int], form: torch.memory_format
) -> Tensor:
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
    padding: Sequence[int],
    dilation: Sequence[int],
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
    layout = _layout_of(form, grad.shape, shape)
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
    layer: Layer,
    grad: Tensor,
    x: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    form: torch.memory_format,
) -> Tensor:
    """Of the weight's shape, zeros where nothing is stored."""
    out, threads = empty_output(layer.weight.shape, torch.contiguous_format), get_num_threads()
    layout = _layout_of(form, grad.shape, x.shape)
    key = (tuple(x.shape), layout, threads, *stride, *padding, *dilation)
    product = streams_of(layer.indices).weight_gradient(
        layer,
        key,
        lambda weights: _native.WeightGradient(
            weights, x.shape, layout, stride, padding, dilation, threads
        ),
    )
    product.run(x.data_ptr(), grad.data_ptr(), out.data_ptr(), threads)
    return out


def dense_conv2d_gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    form: torch.memory_format,
    need_input: bool,
    need_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Both by dense torch, the weight's masked."""
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        None,
        stride,
        padding,
        dilation,
        False,
        [0, 0],
        groups,
        [need_input, need_weight, False],
    )
    return (
        grad_x.contiguous(memory_format=form) if need_input else grad.new_empty(0),
        (grad_weight * mask).contiguous() if need_weight else weight.new_empty(0),
    )
