"""Moments of inputs: those of torch's unfold in fp64, sampled or not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sparse_ovs.compression import gram
from sparse_ovs.compression.gram import InputMoments
from sparse_ovs.compression.matrices import as_matrices


def unfolded(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """float64 (groups, samples, columns), tap-major."""
    columns = F.unfold(
        x.double(),
        conv.kernel_size,
        conv.dilation,
        conv.padding,  # type: ignore[arg-type]
        conv.stride,
    )
    taps = conv.kernel_size[0] * conv.kernel_size[1]
    by_channel = columns.unflatten(1, (conv.groups, -1, taps))  # (N, groups, channels, taps, P)
    return by_channel.permute(1, 0, 4, 3, 2).flatten(1, 2).flatten(2)


convs = st.builds(
    lambda groups, wide, rows, kernel, stride, padding, dilation: nn.Conv2d(
        groups * wide, groups * rows, kernel, stride, padding, dilation, groups
    ),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
)


@given(conv=convs, same=st.booleans(), seed=st.integers(0, 99))
def test_moments_of_a_convolution_are_those_of_its_unfolded_inputs(
    conv: nn.Conv2d, same: bool, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    batches = [torch.randn(n, conv.in_channels, 7, 6, generator=random) for n in (2, 1)]
    others = [x if same else x + torch.randn(x.shape, generator=random) for x in batches]
    moments = InputMoments(conv)
    for x, other in zip(batches, others, strict=True):
        moments.add(x, other)
    problem = moments.problem()
    x, other = unfolded(conv, torch.cat(batches)), unfolded(conv, torch.cat(others))
    count, close = x.shape[1], {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(problem.gram, other.mT @ other / count, **close)
    torch.testing.assert_close(problem.cross, x.mT @ other / count, **close)
    torch.testing.assert_close(problem.dense_mean, x.mean(1), **close)
    torch.testing.assert_close(problem.compressed_mean, other.mean(1), **close)
    weight = as_matrices(conv.weight.detach(), conv.groups)
    power = (weight.double() @ x.mT).square().mean(2)
    torch.testing.assert_close(problem.target_power, power, **close)
    assert torch.equal(problem.weight, weight)
    assert problem.unchanged == same


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(2, 3, 3, padding="same", padding_mode="circular", bias=False),
        nn.Conv2d(2, 3, (1, 3), padding="same", bias=False),
        nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect", stride=2, bias=False),
    ],
)
def test_padding_is_the_layers_own(conv: nn.Conv2d) -> None:
    x = torch.randn(2, 2, 6, 5)
    moments = InputMoments(conv)
    moments.add(x, x)
    power = conv(x).square().mean((0, 2, 3)).double()[None]
    torch.testing.assert_close(moments.problem().target_power, power, rtol=1e-5, atol=1e-6)


def test_inputs_may_first_differ_in_a_later_batch() -> None:
    layer, first, second = nn.Linear(4, 2), torch.randn(3, 4), torch.randn(2, 5, 4)
    moments = InputMoments(layer)
    moments.add(first, first)
    moments.add(second, 2 * second)
    rows = torch.cat([first, second.flatten(0, 1)]).double()
    seen = torch.cat([first, 2 * second.flatten(0, 1)]).double()
    problem = moments.problem()
    torch.testing.assert_close(problem.gram[0], seen.T @ seen / 13, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(problem.cross[0], rows.T @ seen / 13, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pixels", [3, 12, 50])
def test_every_image_gives_so_many_pixels_none_twice(pixels: int) -> None:
    # Each pixel is a unit vector of its own: the gram's diagonal counts how often it was drawn.
    x = torch.eye(12).expand(40, -1, -1)
    moments = InputMoments(nn.Linear(12, 1), pixels)
    moments.add(x, x)
    found = min(pixels, 12)
    problem = moments.problem()
    counts = problem.gram[0].diagonal() * 40 * found
    assert float(counts.sum()) == pytest.approx(40 * found)
    assert float(counts.max()) <= 40 + 1e-6
    assert float(counts.min()) > 0  # other ones in every image
    conv = InputMoments(nn.Conv2d(12, 1, 1), pixels)
    maps = x.mT.unflatten(2, (3, 4)).contiguous()
    conv.add(maps, maps)
    torch.testing.assert_close(conv.problem().gram, problem.gram)


def test_both_networks_are_read_at_the_same_pixels_and_a_seed_chooses_them() -> None:
    x, conv = torch.randn(4, 3, 8, 8), nn.Conv2d(3, 2, 3)

    def moments(seed: int, other: Tensor) -> Tensor:
        made = InputMoments(conv, 5, seed)
        made.add(x, other)
        return made.problem().cross

    torch.testing.assert_close(moments(1, x.clone()), moments(1, x))
    assert not torch.allclose(moments(1, x), moments(2, x))


def test_small_blocks_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    x, conv = torch.randn(5, 4, 9, 9), nn.Conv2d(4, 4, 3, groups=2)

    def problem() -> Tensor:
        made = InputMoments(conv, 20)
        made.add(x, x)
        return made.problem().gram

    whole = problem()
    monkeypatch.setattr(gram, "_BLOCK", 100)
    torch.testing.assert_close(problem(), whole, rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(TypeError, match=r"expected nn.Conv2d or nn.Linear, got ReLU"):
        InputMoments(nn.ReLU())
    moments = InputMoments(nn.Linear(4, 2))
    with pytest.raises(ValueError, match="expected inputs of one shape, got"):
        moments.add(torch.zeros(2, 4), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="expected inputs before the problem is asked for"):
        moments.problem()
    for layer, x in ((nn.Linear(4, 2), (2, 5)), (nn.Conv2d(4, 2, 1), (2, 5, 3, 3))):
        with pytest.raises(ValueError, match="expected inputs of 4 channels, got shape"):
            InputMoments(layer).add(torch.zeros(x), torch.zeros(x))
