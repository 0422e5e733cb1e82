"""Launches `csr_direct`: an unstructured sparse weight without tensor cores."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.conv_size import checked_output_size
from sparse_ovs.formats import CsrWeight
from sparse_ovs.ops.cuda.launch import (
    DTYPE_NUMBERS,
    Launch,
    aligned,
    ceil_div,
    check_additions,
    check_input,
    int32s,
)

_WARPS = 4
_LANE_PIXELS = 8  # at most; sums in registers


def csr_conv2d(
    x: Tensor,
    weight: CsrWeight,
    bias: Tensor | None = None,
    added: Tensor | None = None,
    *,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    relu: bool = False,
) -> tuple[Launch, Tensor]:
    """[relu](conv2d(x, weight) + bias + added), summed in float32 in the order of the columns.

    Args:
        x: (N, I, H, W), contiguous, of the weight's dtype. It is copied where padding is asked for:
            the kernel reads a padded image.
        weight: of shape (O, I, kh, kw).
        bias: (O,) float32.
        added: of the output's shape and dtype.
        stride, padding, dilation: of the two directions.
        relu: last.

    Returns:
        The launch, and the output (N, O, OH, OW), contiguous, which it fills.

    Raises:
        TypeError, ValueError: other dtypes, shapes or devices, or a padded image of 2^31 numbers.
    """
    check_input(x, weight, 4, 1)
    if len(weight.shape) != 4:
        raise ValueError(f"expected a weight (O, I, kh, kw), got {weight.shape}")
    kernel = weight.shape[2:]
    size = checked_output_size(x.shape[2:], kernel, stride, padding, dilation)
    y = x.new_empty(x.shape[0], weight.shape[0], *size)
    check_additions(bias, added, y, 1)
    # Contiguous after padding, too: F.pad keeps channels_last.
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])).contiguous()
    pointwise = (*kernel, *stride) == (1, 1, 1, 1)
    window = (kernel[1], *stride, *dilation)
    added = None if added is None else added.contiguous()
    return _launch(padded, weight, bias, added, y, window, pointwise, relu), y


def csr_matmul(
    x: Tensor,
    weight: CsrWeight,
    bias: Tensor | None = None,
    added: Tensor | None = None,
    *,
    relu: bool = False,
) -> tuple[Launch, Tensor]:
    """[relu](weight @ x + bias + added), summed in float32 in the order of the columns.

    Args:
        x: (I, N), contiguous, of the weight's dtype.
        weight: of shape (O, I).
        bias: (O,) float32.
        added: (O, N) of the same dtype.

    Returns:
        The launch, and the output (O, N), which it fills. See `csr_conv2d` for the rest.
    """
    check_input(x, weight, 2, 0)
    if len(weight.shape) != 2:
        raise ValueError(f"expected a weight (O, I), got {weight.shape}")
    y = x.new_empty(weight.shape[0], x.shape[1])
    check_additions(bias, added, y, 0)
    # As an image of one row.
    image = x.contiguous()[None, :, None]
    added = None if added is None else added.contiguous()[None, :, None]
    return _launch(image, weight, bias, added, y[None, :, None], (1, 1, 1, 1, 1), True, relu), y


def _launch(
    x: Tensor,
    weight: CsrWeight,
    bias: Tensor | None,
    added: Tensor | None,
    y: Tensor,
    window: tuple[int, ...],
    pointwise: bool,
    relu: bool,
) -> Launch:
    """x is padded; window is the kernel's width, the strides and dilations."""
    channels, height, width = x.shape[1:]
    images, out_channels, out_height, out_width = y.shape
    pixels = out_height * out_width
    image = channels * height * width
    int32s(image)  # what offsets reach
    vector = 16 // x.element_size()
    if not (pointwise and aligned(pixels, vector, x, y, added)):
        vector = 1
    runs = 1
    while 32 * vector * runs < pixels and vector * runs < _LANE_PIXELS:
        runs *= 2
    return Launch(
        "csr_direct",
        {
            "DTYPE": DTYPE_NUMBERS[x.dtype],
            "WARPS": _WARPS,
            "VECTOR": vector,
            "RUNS": runs,
            "POINTWISE": int(pointwise),
        },
        (ceil_div(pixels, 32 * vector * runs), ceil_div(out_channels, _WARPS), images),
        32 * _WARPS,
        0,
        (
            x,
            weight.values,
            weight.columns,
            weight.row_ptr,
            weight.row_order,
            None if bias is None else bias.contiguous(),
            added,
            y,
            ctypes.c_int64(image),
            *int32s(height * width, width, channels, *window),
            *int32s(out_channels, out_width, pixels, int(relu)),
        ),
    )
