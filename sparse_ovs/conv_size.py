"""How a convolution's window moves over its input, and how large its output is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """How the window moves over the input; each (vertical, horizontal)."""

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @classmethod
    def of(cls, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> Geometry:
        """Of lists, as torch hands them to an op.

        Raises:
            ValueError: one of them has not two numbers.
        """
        return cls(_pair("stride", stride), _pair("padding", padding), _pair("dilation", dilation))


def _pair(name: str, sizes: Sequence[int]) -> Pair:
    if len(sizes) != 2:
        raise ValueError(f"expected {name} of two numbers, got {tuple(sizes)}")
    return sizes[0], sizes[1]


def output_size(
    size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, int]:
    """(H', W') of a convolution over (H, W); each argument is (vertical, horizontal).

    Nothing is looked at, so that sizes may be symbols of an exported graph; see
    `checked_output_size`.
    """
    height, width = (
        (size[i] + 2 * padding[i] - dilation[i] * (kernel_size[i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    )
    return height, width


def checked_output_size(
    size: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, int]:
    """The same, for numbers that may make no sense together.

    Raises:
        ValueError: a kernel, stride or dilation below 1, negative padding, or a kernel that is
            larger than the padded input.
    """
    for name, pair, least in (
        ("kernel_size", kernel_size, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
    ):
        if len(pair) != 2 or min(pair) < least:
            raise ValueError(f"expected {name} of two numbers from {least} up, got {tuple(pair)}")
    height, width = output_size(size, kernel_size, stride, padding, dilation)
    if height < 1 or width < 1:
        spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel_size, strict=True)]
        raise ValueError(
            f"expected an input of at least {spans[0]} x {spans[1]} with its padding, "
            f"got {size[0]} x {size[1]} with padding {tuple(padding)}"
        )
    return height, width
