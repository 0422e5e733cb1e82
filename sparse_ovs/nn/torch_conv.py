"""torch's dense convolution, kept from the shapes that some processes do not survive."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.ops.layout import memory_format


def jumps_over_padding(conv: nn.Conv2d) -> bool:
    """Whether the kernel is one wide, with a stride of 2 or more, in a direction of a padded map.

    torch 2.14 hands float32 convolutions on CPUs to oneDNN, some of whose kernels, by CPU and
    layout, take for granted that each step of a kernel meets the map. Where a kernel that is one
    wide jumps, a step may meet padding alone: they read and write outside of their buffers, and the
    process ends. Their backward passes do so without padding too, where pixels are jumped over.
    """
    return _jumps(conv) != (1, 1) and any(conv._reversed_padding_repeated_twice)


def torch_conv2d(conv: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """conv(x) with another weight and bias, by torch, in a form that oneDNN survives: padded first,
    pixels that are jumped over left out.

    Args:
        conv: whose stride, padding, dilation and groups count.
        x: (N, C, H, W) or (C, H, W).
        weight: (O, C / groups, kh, kw).
        bias: (O,) or None.

    Returns:
        (N, O, H', W') or (O, H', W'), in x's layout.
    """
    jumps = _jumps(conv)
    backward = torch.is_grad_enabled() and jumps != (1, 1)
    if not x.is_cpu or not (backward or jumps_over_padding(conv)):
        return nn.Conv2d._conv_forward(conv, x, weight, bias)
    form = memory_format(x)
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    if any(conv._reversed_padding_repeated_twice):
        x = F.pad(x, conv._reversed_padding_repeated_twice, mode)
    x = x[..., :: jumps[0], :: jumps[1]].contiguous(memory_format=form)
    stride = (conv.stride[0] // jumps[0], conv.stride[1] // jumps[1])
    return F.conv2d(x, weight, bias, stride, 0, conv.dilation, conv.groups)


def _jumps(conv: nn.Conv2d) -> tuple[int, int]:
    """Strides of the directions in which the kernel is one wide; 1 elsewhere."""
    down, right = (
        step if size == 1 else 1 for step, size in zip(conv.stride, conv.kernel_size, strict=True)
    )
    return down, right
