"""sparse_ovs::conv2d on the CPU, by the library's plans of one convolution."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.ops.arguments import takes
from sparse_ovs.ops.conv_call import ConvCall
from sparse_ovs.ops.layout import empty_output, maps_layout
from sparse_ovs.ops.streams import streams_of
from sparse_ovs.threads import get_num_threads


@takes(ConvCall.of)
def conv2d_on_cpu(call: ConvCall) -> Tensor:
    """See `ops.conv2d`."""
    shape = _checked_shape(call)
    form, geometry, relu = call.form, call.geometry, call.relu
    x = call.x.contiguous(memory_format=form)
    out = empty_output(shape, form)
    if out.numel() == 0:
        return out
    inputs = [x]
    if call.residual is not None:
        inputs.append(call.residual.contiguous(memory_format=form))
    residual_shape = None if call.residual is None else call.residual.shape
    layout = maps_layout(form, x.shape, out.shape)
    threads = get_num_threads()
    plans = streams_of(call.layer.indices).plan(
        call.layer,
        (tuple(x.shape), layout, residual_shape is None, relu, threads, geometry),
        lambda weights: _native.conv_plan(
            weights, x.shape, layout, *geometry, relu, residual_shape, threads
        ),
    )
    with plans as plan:
        plan.run([t.data_ptr() for t in inputs], out.data_ptr(), threads)
    return out


def _checked_shape(call: ConvCall) -> list[int]:
    """Of the output; raises TypeError or ValueError where the tensors do not fit."""
    x, residual = call.x, call.residual
    if x.dtype != torch.float32:
        raise TypeError(f"expected a float32 map, got {x.dtype}")
    channels = call.layer.weight.shape[1] * call.layer.groups
    if x.dim() != 4 or x.shape[1] != channels:
        raise ValueError(f"expected a map (N, {channels}, H, W), got {tuple(x.shape)}")
    if min(call.geometry.stride) < 1:
        raise ValueError(f"expected strides of at least 1, got {call.geometry.stride}")
    shape = call.out_shape
    if min(shape[2:]) < 1:
        raise ValueError(f"expected an input at least as large as the kernel, got {tuple(x.shape)}")
    if residual is not None and list(residual.shape) != shape:
        raise ValueError(
            f"expected a residual of shape {tuple(shape)}, got {tuple(residual.shape)}"
        )
    if residual is not None and residual.dtype != torch.float32:
        raise TypeError(f"expected a float32 residual, got {residual.dtype}")
    return shape
