"""sp24_residue: NVRTC's PTX emulated against fp64, its barriers, and its machine code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gpu.cuda.emulated import assert_rounded_once, machine_code, run
from gpu.emulation.architectures import ARCHITECTURES
from gpu.emulation.budgets import Budgets
from gpu.emulation.kernel import EmulatedFault
from gpu.emulation.measures import measures
from gpu.evidence.changes import rests_on
from gpu.evidence.claims import Claim, proves
from sparse_ovs.formats import find_channel_order, to_two_four
from sparse_ovs.ops.cuda import TILES, Launch, sp24_conv2d, sp24_linear
from support.oracles import random_mask

LARGE, MIDDLE, SMALL = TILES


@dataclass(frozen=True)
class Case:
    """A convolution; a linear layer where `kernel` is None (size is then the rows of x)."""

    channels: int = 64
    out_channels: int = 64
    size: tuple[int, ...] = (5, 7)
    kernel: tuple[int, int] | None = (3, 3)
    batch: int = 1
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    density: float = 0.3
    dtype: torch.dtype = torch.float16
    bias: bool = True
    added: bool = True
    relu: bool = True
    tile: Any = MIDDLE

    def run(self, arch: int = 80, change: Any = None) -> tuple[Tensor, Tensor, Tensor]:
        """Our output, that of fp64, and the sum of its terms' magnitudes."""
        launched, fp64, terms = self.launch()
        return run(launched, arch=arch, change=change)[0], fp64, terms

    def launch(self) -> tuple[tuple[Launch, Tensor], Tensor, Tensor]:
        generator = torch.Generator().manual_seed(1)

        def randn(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        mask = self.mask()
        weight = (randn(*mask.shape) * mask).to(self.dtype)
        order = find_channel_order(mask, rounds=3)
        stored = to_two_four(weight, mask, self.dtype, order)
        if self.kernel is None:
            x = randn(*self.size, self.channels).to(self.dtype)
            exact = [F.linear(x.double(), weight.double())]
            exact += [F.linear(x.double().abs(), weight.double().abs())]
            permuted, options = x[:, order], {}
        else:
            x = randn(self.batch, self.channels, *self.size).to(self.dtype)
            options = {key: getattr(self, key) for key in ("stride", "padding", "dilation")}
            exact = [F.conv2d(x.double(), weight.double(), **options)]
            exact += [F.conv2d(x.double().abs(), weight.double().abs(), **options)]
            permuted = x[:, order].contiguous(memory_format=torch.channels_last)
        y, terms = exact
        bias = randn(self.out_channels) if self.bias else None
        added = randn(*y.shape).to(self.dtype) if self.added else None
        if bias is not None:
            column = bias.double().view(-1, *(1,) * (y.dim() - 2))
            y, terms = y + column, terms + column.abs()
        if added is not None:
            y, terms = y + added.double(), terms + added.double().abs()
        function = sp24_linear if self.kernel is None else sp24_conv2d
        launched = function(
            permuted, stored, bias, added, relu=self.relu, tile=self.tile, **options
        )
        return launched, y.relu() if self.relu else y, terms

    def mask(self) -> Tensor:
        """Of the kept weights."""
        shape = (self.out_channels, self.channels, *(self.kernel or ()))
        return random_mask(shape, self.density)


ALIGNED = Case(64, 72, kernel=None, size=(100,))
ODD = Case(37, 21, kernel=None, size=(45,), dtype=torch.bfloat16, tile=SMALL)
CONV = Case(72, 64)

QUICK = {
    "linear of whole vectors": ALIGNED,
    "linear of one step": replace(ALIGNED, channels=8),
    "linear of more steps than the pipeline holds": replace(ALIGNED, channels=328, size=(3,)),
    "conv 3x3, channels of more than a step": CONV,
    "conv 3x3 of a batch": replace(CONV, channels=16, batch=3, size=(4, 5)),
    "conv 3x3, nothing added": replace(CONV, channels=8, bias=False, added=False, relu=False),
    "conv of an empty weight": replace(CONV, channels=8, density=0.0),
    "conv of a full weight": replace(CONV, channels=8, density=1.0),
    "conv strided, dilated, unlike in the two directions": replace(
        CONV, channels=16, size=(11, 9), kernel=(2, 3), stride=(2, 1), padding=(0, 2),
        dilation=(3, 2),
    ),
    "conv 1x1 with padding": replace(CONV, channels=16, kernel=(1, 1)),
    "conv of a 1x1 map": replace(CONV, channels=8, size=(1, 1)),
}  # fmt: skip

VARIANTS = {
    f"{name} {str(dtype).removeprefix('torch.')} {tile.rows}x{tile.pixels}": replace(
        case, dtype=dtype, tile=tile
    )
    for name, case in {"linear": ALIGNED, "conv": CONV}.items()
    for dtype in (torch.float16, torch.bfloat16)
    for tile in TILES
}


@pytest.mark.parametrize("case", QUICK.values(), ids=QUICK.keys())
def test_it_is_as_exact_as_its_roundings(case: Case) -> None:
    assert_rounded_once(*case.run())


OF_THE_SMALL_TILE = {
    "linear of odd sizes, bfloat": ODD,
    "linear of one number": replace(ODD, channels=1, out_channels=1, size=(1,), density=1.0),
}


@rests_on("sp24_residue")
@pytest.mark.parametrize("case", OF_THE_SMALL_TILE.values(), ids=OF_THE_SMALL_TILE.keys())
def test_its_small_tile_is_as_exact_as_its_roundings(case: Case) -> None:
    assert_rounded_once(*case.run())


def claims(name: str, arch: int) -> Iterator[Claim]:
    for rung in ("L1", "L3"):
        yield Claim("sp24_residue", f"forward {name}", rung, arch)


@pytest.mark.slow
@proves(claims)
@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_exact_and_costs_no_more_than_it_did(
    name: str, arch: int, budgets: Budgets
) -> None:
    tile = VARIANTS[name].tile
    # A tile and a part of the next in both directions.
    size = (tile.pixels + 2,) if name.startswith("linear") else (12, (tile.pixels + 16) // 12)
    case = replace(VARIANTS[name], out_channels=tile.rows + 8, size=size)
    launched, fp64, terms = case.launch()
    found, counters = run(launched, arch=arch)
    assert_rounded_once(found, fp64, terms)
    useful = 2.0 * int(case.mask().sum()) * (fp64.numel() // case.out_channels)
    budgets.check(f"sp24_residue {name} counts sm_{arch}", measures(counters, useful))
    for channels, out_channels in ((5, 7), (5, 8), (16, 7)):
        odd = replace(case, channels=channels, out_channels=out_channels, size=(size[0] // 3, 7))
        odd = replace(odd, size=(45,)) if case.kernel is None else odd
        launched, fp64, terms = odd.launch()
        assert_rounded_once(run(launched, arch=arch)[0], fp64, terms)


def test_no_bank_of_shared_memory_is_read_twice_at_once() -> None:
    launched, _, _ = replace(ALIGNED, channels=512, size=(64,), density=0.0).launch()
    counters = run(launched)[1]
    # A matrix of ldmatrix, and a quarter of the lanes of a 16-byte load, take one pass each.
    assert counters.wavefronts_per_shared_load <= 4


def _without(pattern: str, number: int, ptx: str) -> str:
    """The PTX without one of the statements that match."""
    found = list(re.finditer(pattern, ptx))
    assert len(found) > number
    start, end = found[number].span()
    return ptx[:start] + ptx[end:]


def without_first_barrier(ptx: str) -> str:
    return _without(r"bar\.sync[^;]*;", 0, ptx)


def without_second_barrier(ptx: str) -> str:
    return _without(r"bar\.sync[^;]*;", 1, ptx)


def without_third_barrier(ptx: str) -> str:
    return _without(r"bar\.sync[^;]*;", 2, ptx)


def without_fourth_barrier(ptx: str) -> str:
    return _without(r"bar\.sync[^;]*;", 3, ptx)


def without_wait(ptx: str) -> str:
    return _without(r"cp\.async\.wait_group[^;]*;", 0, ptx)


# Seven steps end in the stage that the sums follow in, and there is a residue: every barrier has
# something to order.
_BUSY = replace(ALIGNED, channels=392, density=0.6)


@rests_on("sp24_residue")
@pytest.mark.parametrize("change", [without_first_barrier, without_wait])
def test_the_main_loop_needs_its_barrier_and_its_wait(change: Any) -> None:
    with pytest.raises(EmulatedFault):
        _BUSY.run(change=change)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [without_second_barrier, without_third_barrier, without_fourth_barrier]
)
def test_the_end_needs_its_barriers(change: Any) -> None:
    with pytest.raises(EmulatedFault, match="race"):
        _BUSY.run(change=change)


def compiled_claims(name: str, arch: int) -> Iterator[Claim]:
    yield Claim("sp24_residue", f"forward {name}", "L2", arch)


@rests_on("sp24_residue")
@proves(compiled_claims)
@pytest.mark.parametrize(
    ("name", "arch"),
    [
        pytest.param(name, arch, marks=() if quick else pytest.mark.slow)
        for name in VARIANTS
        for arch in ARCHITECTURES
        for quick in [" float16 " in name and arch == 80]  # some seconds each
    ],
)
def test_it_compiles_to_sparse_tensor_cores_and_16_byte_copies_without_spills(
    name: str, arch: int, budgets: Budgets
) -> None:
    (launch, _), _, _ = VARIANTS[name].launch()
    code = machine_code(launch, arch)
    assert code.spills == 0
    loop = code.main_loop
    assert loop.count("HMMA", "SP") > 0
    assert loop.count("LDGSTS", "128") > 0
    assert loop.count("LDGSTS") == loop.count("LDGSTS", "128")
    assert code.body.count("STG", "128") > 0
    figures = {
        "registers": code.registers,
        "shared_bytes": launch.shared_bytes,
        "loop_instructions_per_mma": len(loop) / loop.count("HMMA", "SP"),
    }
    instructions = ["HMMA.SP in the loop", "LDGSTS.128 in the loop", "STG.128"]
    budgets.check(f"sp24_residue {name} sm_{arch}", figures, instructions)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: f"{tile.rows}x{tile.pixels}")
def test_no_variant_spills(tile: Any, dtype: torch.dtype, arch: int) -> None:
    for case in (replace(ALIGNED, size=(3,)), replace(CONV, size=(3, 3))):
        for channels, out_channels in ((8, 8), (7, 8), (8, 7), (7, 7)):
            small = replace(case, channels=channels, out_channels=out_channels)
            (launch, _), _, _ = replace(small, dtype=dtype, tile=tile).launch()
            code = machine_code(launch, arch)
            assert code.spills == 0, launch.defines
            assert code.main_loop.count("HMMA", "SP") > 0
