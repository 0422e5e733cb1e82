"""L4: what the layers of an encoder take at least, from exact counts and public peak rates."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("triton", reason="needs triton, which is not installed")

from gpu.bound_report import KERNELS, LAYERS
from gpu.emulation.budgets import Budgets
from gpu.evidence.claims import Claim, proves


def claims(name: str, arch: int) -> Iterator[Claim]:
    kernel = KERNELS[name]
    return (Claim(kernel.kernel, kernel.variant_on(layer), "L4", arch) for layer in LAYERS)


@pytest.mark.slow
@proves(claims)
@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("name", KERNELS)
def test_the_bounds_of_layers_do_not_rise(name: str, arch: int, budgets: Budgets) -> None:
    for layer in LAYERS:
        row = KERNELS[name].row(layer, arch)
        assert row.bound.limit != "CUDA cores" or "csr_direct" in name
        figures = {"no_faster_than_us": 1e6 * row.bound.seconds}
        budgets.check(f"bound {name} {layer.name} sm_{arch}", figures)


def test_a_dense_layer_is_bounded_by_products_or_by_what_it_moves() -> None:
    wide, pointwise = LAYERS[2], LAYERS[1]
    flops = 2 * 256 * 256 * 9 * 1600
    assert wide.dense_seconds(80, "fp16") == pytest.approx(flops / 312e12, rel=0.01)
    moved = 2 * ((1024 + 256) * 1600 + 1024 * 256)
    assert pointwise.dense_seconds(80, "fp16") == pytest.approx(moved / 1.555e12)
