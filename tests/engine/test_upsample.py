"""Nearest upsampling by two, alone and with the map beside it added: the joints of a pyramid."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.engine.graph import Conv, Graph, Upsample2x
from sparse_ovs.engine.importer import import_program
from sparse_ovs.engine.passes import optimise
from support.oracles import assert_as_exact_as_torch, random_sparse_weight


def doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class Join(nn.Module):
    """A map and its half, through pointwise convolutions, brought together by `join`.

    The map passes a ReLU, so that its convolution cannot take the add.
    """

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor], channels: int) -> None:
        super().__init__()
        self.fine, self.coarse = (nn.Conv2d(3, channels, 1) for _ in range(2))
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.fine(x).relu(), self.coarse(F.avg_pool2d(x, 2)))


class Pyramid(nn.Module):
    """A trunk of three strides, and an FPN: lateral convolutions, adds from above, 3x3 outputs."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 8, 12, 20]
        self.trunk = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(widths))
        self.lateral = nn.ModuleList(nn.Conv2d(c, 16, 1) for c in widths[1:])
        self.out = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in widths[1:])
        for conv in (*self.trunk, *self.lateral, *self.out):
            conv.weight.data = random_sparse_weight(tuple(conv.weight.shape), 0.4)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for conv in self.trunk:
            x = conv(x).relu()
            maps.append(x)
        merged = self.lateral[2](maps[2])
        outputs = [self.out[2](merged)]
        for level in (1, 0):
            lateral = self.lateral[level](maps[level])
            above = F.interpolate(merged, size=lateral.shape[2:], mode="nearest")
            merged = lateral + above
            outputs.append(self.out[level](merged))
        return outputs


JOINS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "alone": lambda fine, coarse: doubled(coarse),
    "fine + coarse": lambda fine, coarse: fine + doubled(coarse),
    "coarse + fine": lambda fine, coarse: doubled(coarse) + fine,
    "two": lambda fine, coarse: doubled(coarse) + doubled(F.avg_pool2d(fine, 2)),
}


def graph_of(model: nn.Module, x: Tensor) -> Graph:
    return optimise(import_program(torch.export.export(model.eval(), (x,))))


def torch_rows(compiled: nn.Module, x: Tensor) -> list[str]:
    return [row.name for row in compiled.plan_for(x).rows() if row.reason]


@pytest.mark.parametrize("size", [(2, 2), (2, 14), (18, 2), (16, 32), (66, 42), (80, 66)])
@pytest.mark.parametrize("join", JOINS)
@pytest.mark.parametrize("channels", [1, 19])
def test_upsampled_maps_are_those_of_torch(join: str, size: tuple[int, int], channels: int) -> None:
    torch.manual_seed(0)
    model, x = Join(JOINS[join], channels).eval(), torch.randn(2, 3, *size)
    compiled = sparse_ovs.compile(model, x)
    assert torch_rows(compiled, x) == []
    with torch.no_grad():
        y, plain = compiled(x), model(x)
        exact = model.double()(x.double())
    assert_as_exact_as_torch(y, exact, plain)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_upsampling_alone_copies_the_numbers_themselves(
    channels_last: bool, threads: int
) -> None:
    class Only(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return doubled(x)

    x = torch.randn(2, 37, 33, 40)
    x[0, 0, 0, 0] = torch.nan
    given = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    y = sparse_ovs.compile(Only(), given, threads=threads)(given)
    assert torch.equal(y.nan_to_num(7.0), doubled(x).nan_to_num(7.0))


def test_an_fpn_is_one_native_segment_of_any_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Pyramid().eval(), torch.randn(2, 3, 64, 96)
    compiled = sparse_ovs.compile(model, x)
    compiled.save(tmp_path / "fpn")
    loaded = sparse_ovs.load_plan(tmp_path / "fpn")
    exact = copy.deepcopy(model).double()
    for given in (x, torch.randn(1, 3, 160, 224)):
        assert torch_rows(compiled, given) == []
        made, read = compiled(given), loaded(given)
        with torch.no_grad():
            wanted, plain = exact(given.double()), model(given)
        for y, again, fp32, fp64 in zip(made, read, plain, wanted, strict=True):
            assert_as_exact_as_torch(y, fp64, fp32)
            assert torch.equal(y, again)


def test_strips_and_threads_change_no_bit_of_a_large_join() -> None:
    torch.manual_seed(0)
    model, x = Join(JOINS["fine + coarse"], 32).eval(), torch.randn(1, 3, 256, 320)
    one, two = (sparse_ovs.compile(model, x, threads=threads)(x) for threads in (1, 2))
    assert torch.equal(one, two)
    with torch.no_grad():
        torch.testing.assert_close(one, model(x))


def test_the_add_joins_the_upsampling_where_no_convolution_takes_it() -> None:
    x = torch.randn(1, 3, 8, 8)
    for join in ("fine + coarse", "coarse + fine"):
        last = graph_of(Join(JOINS[join], 4), x).nodes[-1]
        assert isinstance(last, Upsample2x)
        assert last.residual is not None


def test_a_plain_convolution_takes_the_add_and_the_relu_behind_it() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fine = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return (self.fine(x) + doubled(F.avg_pool2d(x, 2))).relu()

    last = graph_of(Net(), torch.randn(1, 3, 8, 8)).nodes[-1]
    assert isinstance(last, Conv)
    assert (last.activation, last.residual is None) == ("relu", False)


@pytest.mark.parametrize(
    "enlarge",
    [
        lambda x: F.interpolate(x, scale_factor=3, mode="nearest"),
        lambda x: F.interpolate(x, scale_factor=(2, 1), mode="nearest"),
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        lambda x: F.interpolate(x, size=(9, 8), mode="nearest"),
        lambda x: F.interpolate(x, scale_factor=2.1, mode="nearest"),  # 8x8 of other pixels
    ],
)
def test_other_enlargements_stay_in_torch(enlarge: Callable[[Tensor], Tensor]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return enlarge(self.conv(x))

    model, x = Net().eval(), torch.randn(1, 3, 4, 4)
    compiled = sparse_ovs.compile(model, x)
    assert len(torch_rows(compiled, x)) == 1
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))
