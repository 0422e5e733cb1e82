"""Reads convolutions, BatchNorm, pooling and upsampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sparse_ovs.engine.graph import AtrousPool, BatchNorm, Conv, Pad, Pool, Upsample2x
from sparse_ovs.engine.importer.handlers import (
    Call,
    handles,
    is_float_weight,
    is_optional_tensor,
)
from sparse_ovs.ops import ATROUS_POOL2X2

aten = torch.ops.aten


@handles(aten.conv2d.default)
def _conv2d(call: Call) -> Any:
    weight, bias = call["weight"], call["bias"]
    image = call.values.as_image(call["input"], call.shape_of("input"))
    if image is None or not is_float_weight(weight) or not is_optional_tensor(bias):
        return None
    stride, padding, dilation = (_pair(call[name]) for name in ("stride", "padding", "dilation"))
    conv = Conv(call.name, image.name, weight, bias, stride, padding, dilation, call["groups"])
    return call.values.add(conv)


def _pair(sizes: list[int]) -> tuple[int, int]:
    return (sizes[0], sizes[-1])


@handles(aten.pad.default)
def _pad(call: Call) -> Any:
    return _zeros_around(call) if call["mode"] == "constant" else None


@handles(aten.constant_pad_nd.default)
def _constant_pad(call: Call) -> Any:
    return _zeros_around(call)


def _zeros_around(call: Call) -> Any:
    sides = call["pad"]
    image = call.values.as_image(call["self"], call.shape_of("self"))
    if image is None or call["value"] or len(sides) not in (2, 4) or min(sides) < 0:
        return None
    rows, columns = (sides[2:] or [0, 0]), sides[:2]
    return call.values.add(Pad(call.name, image.name, (rows[0], rows[1]), (columns[0], columns[1])))


@handles(aten.batch_norm.default)
def _batch_norm(call: Call) -> Any:
    return None if call["training"] else _norm_of_statistics(call)


@handles(aten._native_batch_norm_legit_no_training.default)
def _batch_norm_without_writes(call: Call) -> Any:
    made = _norm_of_statistics(call)
    return None if made is None else (made, None, None)  # statistics, which training alone reads


def _norm_of_statistics(call: Call) -> Any:
    vectors = [call[name] for name in ("weight", "bias", "running_mean", "running_var")]
    if not all(isinstance(vector, Tensor) for vector in vectors):
        return None
    image = call.values.as_image(call["input"], call.shape_of("input"))
    if image is None:
        return None
    gamma, beta, mean, var = vectors
    return call.values.add(BatchNorm(call.name, image.name, gamma, beta, mean, var, call["eps"]))


@handles(aten.avg_pool2d.default)
def _avg_pool2d(call: Call) -> Any:
    if _pools(call, 1):
        return call["self"]
    image = call.values.as_image(call["self"], call.shape_of("self"))
    if image is None or not _pools(call, 2):
        return None
    return call.values.add(Pool(call.name, image.name))


@handles(ATROUS_POOL2X2)
def _atrous_pool2x2(call: Call) -> Any:
    image = call.values.as_image(call["x"], call.shape_of("x"))
    if image is None:
        return None
    return call.values.add(AtrousPool(call.name, image.name, call["dilation"]))


def _pools(call: Call, size: int) -> bool:
    """A mean over size x size pixels with that stride, nothing else."""
    kernel = call["kernel_size"]
    return (
        _pair(kernel) == (size, size)
        and _pair(call["stride"] or kernel) == (size, size)
        and not any(call["padding"])
        and not call["ceil_mode"]
        and call["divisor_override"] is None
    )


@handles(aten.upsample_nearest2d.vec)
def _upsample_nearest(call: Call) -> Any:
    return _upsample(call, call["input"], call.shape_of("input"), call["scale_factors"] or ())


@handles(aten.upsample_nearest2d.default)
def _upsample_nearest_to_size(call: Call) -> Any:
    return _upsample(
        call, call["self"], call.shape_of("self"), (call["scales_h"], call["scales_w"])
    )


def _upsample(call: Call, x: Any, shape: tuple[int, ...], scales: Sequence[float | None]) -> Any:
    # A scale of 2.1 may give this size too, of other pixels.
    doubled = call.shape == (*shape[:2], *(2 * size for size in shape[2:]))
    if not doubled or any(scale not in (None, 2.0) for scale in scales):
        return None
    image = call.values.as_image(x, shape)
    return None if image is None else call.values.add(Upsample2x(call.name, image.name))
