"""sparse_ovs::conv2d and sparse_ovs::linear on a GPU."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sparse_ovs.ops.arguments import takes
from sparse_ovs.ops.conv_call import ConvCall
from sparse_ovs.ops.cuda.choose import Choice
from sparse_ovs.ops.cuda.layer import gpu_layer
from sparse_ovs.ops.cuda.request import (
    GPU_DTYPES,
    ConvRequest,
    LinearRequest,
    conv_arithmetic,
    linear_arithmetic,
)
from sparse_ovs.ops.linear_call import LinearCall


def _check_dtypes(x: Tensor, weight: Tensor) -> None:
    for name, tensor in (("activations", x), ("a weight", weight)):
        if tensor.dtype not in GPU_DTYPES:
            raise TypeError(f"expected {name} of float16, bfloat16 or float32, got {tensor.dtype}")
        if tensor.device != x.device:
            raise ValueError(f"expected {name} on {x.device}, got {tensor.device}")


@takes(ConvCall.of)
def conv2d_on_gpu(call: ConvCall) -> Tensor:
    """See `ops.conv2d`; x may be float16 or bfloat16, whatever the weight's dtype is.

    The packed structure only names the layer here: GPU formats are packed from weight and mask.
    """
    x, residual, layer = call.x, call.residual, call.layer
    _check_dtypes(x, layer.weight)
    channels = layer.weight.shape[1]
    if x.dim() != 4 or x.shape[1] != channels:
        raise ValueError(f"expected a map (N, {channels}, H, W), got {tuple(x.shape)}")
    if residual is not None and residual.dtype != x.dtype:
        raise TypeError(f"expected a residual of {x.dtype}, got {residual.dtype}")
    asked = ConvRequest(x, residual, call.geometry, call.relu, conv_arithmetic(x.dtype))
    form = call.form

    def run(choice: Choice, packed: Any, bias: Tensor | None) -> Tensor:
        y = choice.route.conv2d(asked, packed, bias, choice.variant)
        return y.contiguous(memory_format=form)

    size = (tuple(x.shape), form, *call.geometry, residual is None, call.relu)
    return gpu_layer(layer.indices).run(layer, asked.arithmetic, size, run)


@takes(LinearCall.of)
def linear_on_gpu(call: LinearCall) -> Tensor:
    """See `ops.linear`, and `conv2d_on_gpu` for dtypes."""
    x, layer = call.x, call.layer
    out_features, in_features = layer.weight.shape
    _check_dtypes(x, layer.weight)
    if x.dim() < 1 or x.shape[-1] != in_features:
        raise ValueError(f"expected an input (..., {in_features}), got {tuple(x.shape)}")
    tokens = x.reshape(-1, x.shape[-1]).contiguous()
    asked = LinearRequest(tokens, call.relu, linear_arithmetic(x.dtype))

    def run(choice: Choice, packed: Any, bias: Tensor | None) -> Tensor:
        return choice.route.linear(asked, packed, bias, choice.variant)

    size = (tuple(tokens.shape), call.relu)
    y = gpu_layer(layer.indices).run(layer, asked.arithmetic, size, run)
    return y.view(*x.shape[:-1], out_features)
