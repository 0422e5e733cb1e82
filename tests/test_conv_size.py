"""The size of a convolution's output, against torch's own convolution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.conv_size import checked_output_size, output_size


def pairs(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@given(pairs(13, 40), pairs(1, 4), pairs(1, 4), pairs(0, 3), pairs(1, 4))
def test_it_is_the_size_of_what_torch_gives(
    size: tuple[int, int],
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> None:
    x, weight = torch.empty(1, 1, *size), torch.empty(1, 1, *kernel_size)
    expected = F.conv2d(x.to("meta"), weight.to("meta"), None, stride, padding, dilation).shape[2:]
    for found in (output_size, checked_output_size):
        assert found(size, kernel_size, stride, padding, dilation) == tuple(expected)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (((0, 3), (1, 1), (0, 0), (1, 1)), r"kernel_size of two numbers from 1 up, got \(0, 3\)"),
        (((3, 3), (0, 1), (0, 0), (1, 1)), r"stride of two numbers from 1 up, got \(0, 1\)"),
        (((3, 3), (1, 1), (0, -1), (1, 1)), r"padding of two numbers from 0 up, got \(0, -1\)"),
        (((3, 3), (1, 1), (0, 0), (1,)), r"dilation of two numbers from 1 up, got \(1,\)"),
        (((3, 3), (1, 1), (0, 0), (3, 1)), "an input of at least 7 x 3 .* got 5 x 6"),
    ],
)
def test_windows_that_make_no_sense_are_refused(
    window: tuple[tuple[int, ...], ...], message: str
) -> None:
    with pytest.raises(ValueError, match=f"expected {message}"):
        checked_output_size((5, 6), *window)
