"""sparse_ovs::conv2d and sparse_ovs::linear on a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparse_ovs.ops.cuda.choose import Choice
from sparse_ovs.ops.cuda.layer import Weights, gpu_layer
from sparse_ovs.ops.cuda.request import (
    GPU_DTYPES,
    ConvRequest,
    Geometry,
    LinearRequest,
    conv_arithmetic,
    linear_arithmetic,
)
from sparse_ovs.ops.layout import memory_format


def _check_dtypes(x: Tensor, weight: Tensor) -> None:
    for name, tensor in (("activations", x), ("a weight", weight)):
        if tensor.dtype not in GPU_DTYPES:
            raise TypeError(f"expected {name} of float16, bfloat16 or float32, got {tensor.dtype}")
        if tensor.device != x.device:
            raise ValueError(f"expected {name} on {x.device}, got {tensor.device}")


def conv2d_on_gpu(
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
    """See `ops.conv2d`; x may be float16 or bfloat16, whatever the weight's dtype is.

    The packed structure only names the layer here: GPU formats are packed from weight and mask.
    """
    _check_dtypes(x, weight)
    if x.dim() != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"expected a map (N, {weight.shape[1]}, H, W), got {tuple(x.shape)}")
    if residual is not None and residual.dtype != x.dtype:
        raise TypeError(f"expected a residual of {x.dtype}, got {residual.dtype}")
    geometry = Geometry(*((pair[0], pair[1]) for pair in (stride, padding, dilation)))
    asked = ConvRequest(x, residual, geometry, relu, conv_arithmetic(x.dtype))
    form = memory_format(x)

    def call(choice: Choice, packed: Any, bias: Tensor | None) -> Tensor:
        y = choice.route.conv2d(asked, packed, bias, choice.variant)
        return y.contiguous(memory_format=form)

    size = (tuple(x.shape), form, *geometry, residual is None, relu)
    weights = Weights(weight, mask, bias, norm, eps)
    return gpu_layer(indices).run(weights, asked.arithmetic, size, call)


def linear_on_gpu(
    x: Tensor,
    weight: Tensor,
    mask: Tensor,
    bias: Tensor | None,
    indices: Tensor,
    row_ptr: Tensor,
    block_rows: int,
    relu: bool,
) -> Tensor:
    """See `ops.linear`, and `conv2d_on_gpu` for dtypes."""
    _check_dtypes(x, weight)
    if x.dim() < 1 or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"expected an input (..., {weight.shape[1]}), got {tuple(x.shape)}")
    tokens = x.reshape(-1, x.shape[-1]).contiguous()
    asked = LinearRequest(tokens, relu, linear_arithmetic(x.dtype))

    def call(choice: Choice, packed: Any, bias: Tensor | None) -> Tensor:
        return choice.route.linear(asked, packed, bias, choice.variant)

    size = (tuple(tokens.shape), relu)
    y = gpu_layer(indices).run(Weights(weight, mask, bias), asked.arithmetic, size, call)
    return y.view(*x.shape[:-1], weight.shape[0])


torch.library.impl("sparse_ovs::conv2d", "CUDA", conv2d_on_gpu)
torch.library.impl("sparse_ovs::linear", "CUDA", linear_on_gpu)
