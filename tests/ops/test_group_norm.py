"""GroupNorm in place, with a coarser map added and a ReLU, against fp64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sparse_ovs import ops
from support.examples import examples
from support.oracles import assert_as_exact_as_torch

EPS = 1e-5


def in_torch(
    x: Tensor, groups: int, gamma: Tensor, beta: Tensor, above: Tensor | None, relu: bool
) -> Tensor:
    y = F.group_norm(x, groups, gamma, beta, EPS)
    if above is not None:
        y = y + F.interpolate(above, x.shape[2:], mode="bilinear", align_corners=False)
    return y.relu() if relu else y


@settings(max_examples=examples(40), deadline=None)
@given(
    n=st.integers(1, 2),
    groups=st.integers(1, 4),
    each=st.integers(1, 3),
    height=st.integers(3, 20),
    width=st.integers(3, 40),
    coarser=st.none() | st.tuples(st.integers(1, 12), st.integers(1, 20)),
    relu=st.booleans(),
    mean=st.sampled_from([0.0, 30.0]),
)
def test_it_is_as_exact_as_torch(
    n: int,
    groups: int,
    each: int,
    height: int,
    width: int,
    coarser: tuple[int, int] | None,
    relu: bool,
    mean: float,
) -> None:
    torch.manual_seed(height * width)
    channels = groups * each
    x = torch.randn(n, channels, height, width) + mean
    gamma, beta = torch.randn(2, channels)
    above = None if coarser is None else torch.randn(n, channels, *coarser)
    plain = in_torch(x, groups, gamma, beta, above, relu)
    fp64 = in_torch(
        x.double(),
        groups,
        gamma.double(),
        beta.double(),
        None if above is None else above.double(),
        relu,
    )
    made = x.clone()
    assert ops.group_norm_(made, groups, gamma, beta, EPS, above, relu) is made
    # Roundings of the mean are divided by deviations, which are small in some groups.
    assert_as_exact_as_torch(made, fp64, plain, scale=10 * max(1.0, mean))


def test_a_transposed_coarser_map_is_added_as_it_is_meant() -> None:
    x, above = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 4)
    ones, zeros = torch.ones(4), torch.zeros(4)
    expected = ops.group_norm_(x.clone(), 2, ones, zeros, EPS, above)
    last = above.contiguous(memory_format=torch.channels_last)
    assert torch.equal(ops.group_norm_(x.clone(), 2, ones, zeros, EPS, last), expected)


def test_sizes_that_do_not_fit_are_refused() -> None:
    x, ones = torch.randn(1, 4, 2, 2), torch.ones(4)
    with pytest.raises(ValueError, match=r"whole groups, got \(4,\), \(4,\) and 3 groups"):
        ops.group_norm_(x, 3, ones, ones, EPS)
    with pytest.raises(ValueError, match=r"expected above \(1, 4, h, w\), got \(1, 3, 2, 2\)"):
        ops.group_norm_(x, 2, ones, ones, EPS, torch.zeros(1, 3, 2, 2))


def test_maps_without_a_kernel_have_reasons() -> None:
    x = torch.randn(1, 4, 2, 2)
    assert ops.group_norm_unsupported(x) == []
    assert ops.group_norm_unsupported(x.double()) == ["float64 has no CPU kernel"]
    last = torch.randn(1, 4, 2, 3).contiguous(memory_format=torch.channels_last)
    assert ops.group_norm_unsupported(last)
    assert ops.group_norm_unsupported(x.to("meta")) == ["meta has no kernel"]
