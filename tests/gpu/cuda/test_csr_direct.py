"""csr_direct: NVRTC's PTX emulated against fp64, and its machine code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gpu.cuda.emulated import assert_rounded_once, machine_code, run
from gpu.emulation.architectures import ARCHITECTURES
from gpu.emulation.budgets import Budgets
from gpu.emulation.measures import measures
from gpu.evidence.changes import rests_on
from gpu.evidence.claims import Claim, proves
from sparse_ovs.formats import to_csr
from sparse_ovs.ops.cuda import Launch, csr_conv2d, csr_matmul
from support.oracles import random_mask


@dataclass(frozen=True)
class Case:
    """A convolution; a matrix product where `kernel` is None (size is then the columns of x)."""

    channels: int = 24
    out_channels: int = 10
    size: tuple[int, ...] = (6, 7)
    kernel: tuple[int, int] | None = (3, 3)
    batch: int = 1
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    density: float = 0.2
    dtype: torch.dtype = torch.float32
    bias: bool = True
    added: bool = True
    relu: bool = True

    def launch(self) -> tuple[tuple[Launch, Tensor], Tensor, Tensor]:
        """The launch, the output of fp64, and the sum of its terms' magnitudes."""
        generator = torch.Generator().manual_seed(1)

        def randn(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        mask = self.mask()
        weight = (randn(*mask.shape) * mask).to(self.dtype)
        stored = to_csr(weight, mask)
        if self.kernel is None:
            x = randn(self.channels, *self.size).to(self.dtype)
            y, terms = (w @ v for w, v in zip(*_pairs(weight, x), strict=True))
            options, rows = {}, (-1, 1)
        else:
            x = randn(self.batch, self.channels, *self.size).to(self.dtype)
            options = {key: getattr(self, key) for key in ("stride", "padding", "dilation")}
            y, terms = (F.conv2d(v, w, **options) for w, v in zip(*_pairs(weight, x), strict=True))
            rows = (-1, 1, 1)
        bias = randn(self.out_channels) if self.bias else None
        added = randn(*y.shape).to(self.dtype) if self.added else None
        if bias is not None:
            y, terms = y + bias.double().view(rows), terms + bias.double().abs().view(rows)
        if added is not None:
            y, terms = y + added.double(), terms + added.double().abs()
        function = csr_matmul if self.kernel is None else csr_conv2d
        launched = function(x, stored, bias, added, relu=self.relu, **options)
        return launched, y.relu() if self.relu else y, terms

    def mask(self) -> Tensor:
        """Of the kept weights."""
        shape = (self.out_channels, self.channels, *(self.kernel or ()))
        return random_mask(shape, self.density)


def _pairs(weight: Tensor, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """In double precision: the numbers, and their magnitudes."""
    return [weight.double(), weight.double().abs()], [x.double(), x.double().abs()]


MATMUL = Case(kernel=None, size=(264,))
CONV = Case()
HALF = replace(MATMUL, dtype=torch.float16)

# Of few variants: what the launcher makes of any geometry.
QUICK = {
    "product of whole vectors": MATMUL,
    "product of rows longer than what is staged at once": replace(
        MATMUL, channels=700, density=0.9
    ),
    "product of an empty weight": replace(MATMUL, density=0.0),
    "product of a full weight": replace(MATMUL, density=1.0),
    "product, nothing added": replace(MATMUL, bias=False, added=False, relu=False),
    "half of few columns": replace(HALF, size=(49,)),
    "conv 3x3": CONV,
    "conv 3x3 of a batch": replace(CONV, batch=3),
    "conv strided, dilated, unlike in the two directions": replace(
        CONV, size=(11, 9), kernel=(2, 3), stride=(2, 1), padding=(0, 2), dilation=(3, 2)
    ),
    "conv 1x1 with padding": replace(CONV, kernel=(1, 1)),
}
OF_OTHER_VARIANTS = {
    "product of odd sizes": replace(MATMUL, channels=37, out_channels=3, size=(49,)),
    "product of one column": replace(MATMUL, size=(1,)),
    "half of whole vectors": HALF,
    "half of rows longer than what is staged at once": replace(HALF, channels=700, density=0.9),
    "bfloat of whole vectors": replace(HALF, dtype=torch.bfloat16),
    "conv 3x3 of a map of many runs": replace(CONV, channels=3, size=(20, 17)),
    "conv 1x1": replace(CONV, kernel=(1, 1), padding=(0, 0), size=(8, 6), batch=2),
    "conv of a 1x1 map": replace(CONV, size=(1, 1)),
}


def assert_as_exact_as_its_roundings(case: Case) -> None:
    launched, fp64, terms = case.launch()
    assert_rounded_once(run(launched)[0], fp64, terms)


@pytest.mark.parametrize("case", QUICK.values(), ids=QUICK.keys())
def test_it_is_as_exact_as_its_roundings(case: Case) -> None:
    assert_as_exact_as_its_roundings(case)


@rests_on("csr_direct")
@pytest.mark.parametrize("case", OF_OTHER_VARIANTS.values(), ids=OF_OTHER_VARIANTS.keys())
def test_other_variants_are_as_exact_as_their_roundings(case: Case) -> None:
    assert_as_exact_as_its_roundings(case)


VARIANTS = [
    (pointwise, dtype, vector, runs)
    for dtype in (torch.float32, torch.float16, torch.bfloat16)
    for pointwise, vector in ((True, 16 // dtype.itemsize), (True, 1), (False, 1))
    for runs in (1, 2, 4, 8)
    if vector * runs <= 8
]


def variant_name(pointwise: bool, dtype: torch.dtype, vector: int, runs: int) -> str:
    """As the record of evidence and the budgets name it."""
    kind = "pointwise" if pointwise else "windowed"
    return f"forward {kind} {str(dtype).removeprefix('torch.')} {runs}x{vector}"


def case_of(pointwise: bool, dtype: torch.dtype, vector: int, runs: int) -> Case:
    """One whose launcher takes that variant, with a last warp that has few pixels."""
    pixels = 32 * vector * runs - (vector if vector > 1 else 7)
    if pointwise:
        return replace(MATMUL, size=(pixels,), dtype=dtype)
    return replace(CONV, size=(pixels // 8, 8), dtype=dtype)


def claims(variant: tuple[bool, torch.dtype, int, int], arch: int) -> Iterator[Claim]:
    for rung in ("L1", "L3"):
        yield Claim("csr_direct", variant_name(*variant), rung, arch)


@pytest.mark.slow
@proves(claims)
@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant_name(*variant))
def test_every_variant_is_exact_and_costs_no_more_than_it_did(
    variant: tuple[bool, torch.dtype, int, int], arch: int, budgets: Budgets
) -> None:
    case = case_of(*variant)
    launched, fp64, terms = case.launch()
    defines = launched[0].defines
    assert (bool(defines["POINTWISE"]), defines["VECTOR"], defines["RUNS"]) == (
        variant[0],
        *variant[2:],
    )
    found, counters = run(launched, arch=arch)
    assert_rounded_once(found, fp64, terms)
    useful = 2.0 * int(case.mask().sum()) * (fp64.numel() // case.out_channels)
    name = f"csr_direct {variant_name(*variant)} counts sm_{arch}"
    budgets.check(name, measures(counters, useful))


@rests_on("csr_direct")
def test_vectors_change_no_bit() -> None:
    x, weight = torch.randn(24, 264), to_csr(torch.randn(9, 24) * random_mask((9, 24), 0.3))
    whole, _ = run(csr_matmul(x, weight))
    odd, _ = run(csr_matmul(x[:, :261], weight))
    assert torch.equal(whole[:, :261], odd)


def test_nan_under_a_pruned_weight_does_not_reach_the_output() -> None:
    mask = torch.ones(5, 12, dtype=torch.bool)
    mask[:, 3] = False
    x = torch.randn(12, 40)
    x[3] = torch.nan
    found, _ = run(csr_matmul(x, to_csr(torch.randn(5, 12), mask)))
    assert not found.isnan().any()


def test_activations_come_in_whole_sectors() -> None:
    # Four rows of 32 numbers that a warp reads 16 bytes a lane: 16 sectors a request.
    launched, _, _ = replace(MATMUL, size=(256,), density=1.0, added=False, bias=False).launch()
    _, counters = run(launched)
    weights = 24 * 10
    assert counters.load_sectors <= 32 * weights + 10 * 16  # and what few the structure needs


_COMPILED = {
    "matmul float32": MATMUL,
    "matmul float16": HALF,
    "matmul bfloat16": replace(HALF, dtype=torch.bfloat16),
    "conv float32": replace(CONV, size=(20, 17)),
    "conv float16": replace(CONV, size=(20, 17), dtype=torch.float16),
}


@rests_on("csr_direct")
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", _COMPILED)
def test_it_compiles_to_vector_loads_without_spills(name: str, arch: int, budgets: Budgets) -> None:
    (launch, _), _, _ = _COMPILED[name].launch()
    code = machine_code(launch, arch)
    assert code.spills == 0
    assert code.body.count("LDG", "128") > 0  # values and columns
    assert code.body.count("FFMA") > 0
    figures = {"registers": code.registers, "shared_bytes": code.shared_bytes}
    budgets.check(f"csr_direct {name} sm_{arch}", figures, ["LDG.128", "FFMA"])


def compiled_claims(variant: tuple[bool, torch.dtype, int, int], arch: int) -> Iterator[Claim]:
    yield Claim("csr_direct", variant_name(*variant), "L2", arch)


@pytest.mark.slow
@proves(compiled_claims)
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant_name(*variant))
def test_no_variant_spills(variant: tuple[bool, torch.dtype, int, int], arch: int) -> None:
    (launch, _), _, _ = case_of(*variant).launch()
    code = machine_code(launch, arch)
    assert code.spills == 0
    assert code.body.count("LDG", "128") > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_launcher_takes_no_other_variants(dtype: torch.dtype) -> None:
    cases = [replace(MATMUL, size=(columns,)) for columns in (4, 31, 49, 99, 132, 256, 257, 999)]
    cases += [replace(CONV, size=size) for size in ((1, 1), (7, 7), (9, 9), (13, 13), (40, 40))]
    defines = [replace(case, dtype=dtype).launch()[0][0].defines for case in cases]
    found = {(bool(d["POINTWISE"]), dtype, d["VECTOR"], d["RUNS"]) for d in defines}
    assert found == {variant for variant in VARIANTS if variant[1] == dtype}
