"""The memory layouts that the ops keep, contiguous and channels_last, and outputs in them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from sparse_ovs import _native

# Smaller outputs are served well by torch's allocator.
_POOLED_BYTES = 1 << 20


def memory_format(x: Tensor) -> torch.memory_format:
    """The layout that the output takes: channels_last only where x is that and nothing else."""
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def nhwc(x: Tensor) -> Tensor:
    """(N, C, H, W) whose memory is (N, H, W, C) without gaps, copied where it is not.

    torch calls maps of one pixel or channel channels_last whatever their strides; GPU kernels ask
    for the memory itself.
    """
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def native_layout(form: torch.memory_format) -> int:
    """What the native library calls the layout."""
    return _native.NHWC if form == torch.channels_last else _native.NCHW


def maps_layout(form: torch.memory_format, *shapes: Sequence[int]) -> int:
    """The library's layout for a plan of maps (N, C, H, W), all of which lie in `form`.

    A map of one pixel is the same memory in both layouts; as channels_last its batch is one run of
    pixels.
    """
    single_pixel = all(shape[2] * shape[3] == 1 for shape in shapes)
    return _native.NHWC if single_pixel else native_layout(form)


def empty_output(shape: Sequence[int], form: torch.memory_format) -> Tensor:
    """(N, C, H, W) or (..., O) uninitialised float32 on the CPU; large ones reuse memory."""
    count = prod(shape)
    if 4 * count < _POOLED_BYTES:
        return torch.empty(shape, dtype=torch.float32, memory_format=form)
    flat = torch.frombuffer(_native.take_floats(count), dtype=torch.float32)
    strides = torch.empty(shape, device="meta", memory_format=form).stride()
    # No view of another tensor: autograd lets nobody write to such an output in place.
    return torch.empty(0).set_(flat.untyped_storage(), 0, tuple(shape), strides)
