"""Convolutions of kernels that are one wide and jump, which torch may crash on; as a program, runs
them all forward and backward and says "survived"."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sparse_ovs import sparsify
from sparse_ovs.nn import DenseConv2d, SparseConv2d
from support import oracles

# in, out, groups, kernel, stride, padding
SHAPES = (
    (1, 12, 1, (1, 1), (2, 2), (1, 1)),
    (3, 4, 1, (1, 1), (3, 2), (0, 1)),
    (16, 16, 1, (1, 1), (2, 3), (2, 2)),
    (4, 8, 1, (1, 3), (2, 2), (1, 1)),
    (16, 16, 1, (3, 1), (1, 2), (1, 1)),
    (4, 8, 2, (1, 1), (2, 2), (1, 1)),
    (8, 8, 4, (1, 1), (2, 2), (1, 0)),
    (8, 16, 1, (1, 1), (2, 2), (0, 0)),
)
MAPS = ((1, 2, 1), (2, 2, 1), (2, 1, 1), (16, 5, 4))  # N, H, W
KINDS = ("auto", "dense", "DenseConv2d", "float64")


def layer(shape: tuple[object, ...], kind: str) -> nn.Conv2d:
    """One that nothing prunes: as `sparsify` leaves it, or dense as asked for, or ours for heads;
    float64 has no kernel of ours."""
    in_channels, out_channels, groups, kernel, stride, padding = shape
    how = {"groups": groups, "stride": stride, "padding": padding}
    if kind == "DenseConv2d":
        return DenseConv2d(in_channels, out_channels, kernel, **how)
    conv = nn.Conv2d(in_channels, out_channels, kernel, **how)  # type: ignore[arg-type]
    if kind == "float64":
        conv = conv.double()
    model = nn.Sequential(conv)
    sparsify(model, density=1.0, engine="dense" if kind == "dense" else "auto")
    assert isinstance(model[0], SparseConv2d)
    return model[0]


def inputs(conv: nn.Conv2d) -> Iterator[Tensor]:
    """Maps of all sizes, in both layouts."""
    for n, height, width in MAPS:
        x = torch.randn(n, conv.in_channels, height, width, dtype=conv.weight.dtype)
        yield x
        yield x.contiguous(memory_format=torch.channels_last)


def check(conv: nn.Conv2d, x: Tensor) -> None:
    """Forward without gradients, forward and backward with them, against float64."""
    how = {"stride": conv.stride, "padding": conv.padding, "groups": conv.groups}
    with torch.no_grad():
        inference = conv(x)
    ours = [x.clone().requires_grad_(), conv.weight, conv.bias]
    exact = [tensor.detach().double().requires_grad_() for tensor in ours]
    y, expected = conv(ours[0]), oracles.conv2d_fp64(*exact, **how)
    weights = torch.randn_like(expected)
    torch.testing.assert_close(inference.double(), expected.detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-4)
    found = torch.autograd.grad((y * weights).sum(), ours)
    for gradient, true in zip(
        found, torch.autograd.grad((expected * weights).sum(), exact), strict=True
    ):
        torch.testing.assert_close(gradient.double(), true, rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    torch.manual_seed(0)
    for shape in SHAPES:
        for kind in KINDS:
            conv = layer(shape, kind)
            for x in inputs(conv):
                check(conv, x)
    print("survived")
