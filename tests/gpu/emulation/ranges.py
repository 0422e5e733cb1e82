"""The bytes of memory that a kernel may reach: what its tensors span."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

Range = tuple[int, int]


def span(tensor: Tensor) -> Range:
    """First byte and one past the last of a tensor's elements, gaps between rows included.

    Raises:
        ValueError: for a tensor that is not in the CPU's memory.
    """
    if tensor.device.type != "cpu":
        raise ValueError(f"expected CPU tensors, got one on {tensor.device}")
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = sum((size - 1) * stride for size, stride in steps)
    first = tensor.data_ptr()
    return first, first + (last + 1) * tensor.element_size()


def reachable(tensors: Iterable[object]) -> list[Range]:
    """Sorted ranges of the tensors among the objects; those that overlap are one."""
    spans = sorted(span(t) for t in tensors if isinstance(t, Tensor) and t.numel())
    merged: list[Range] = []
    for first, end in spans:
        if merged and first < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((first, end))
    return merged
