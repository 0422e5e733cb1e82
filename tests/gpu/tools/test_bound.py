"""Lower bounds against figures that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpu.emulation.architectures import ARCHITECTURES, dense_lower_bound
from gpu.emulation.bound import lower_bound
from gpu.emulation.kernel import Counters

NOTHING = Counters(*[0] * 16)


def test_the_peak_of_an_a100_is_the_published_one() -> None:
    assert 1 / dense_lower_bound(80, 1) == pytest.approx(312e12, rel=0.01)
    assert 1 / dense_lower_bound(80, 1, tensor_format="tf32") == pytest.approx(156e12, rel=0.01)
    assert 1 / dense_lower_bound(90, 1) == pytest.approx(989e12, rel=0.01)


def test_a_grid_with_fewer_blocks_than_multiprocessors_uses_no_more() -> None:
    work = replace(NOTHING, tensor_flops=10**12)
    assert lower_bound(80, work, 108, 0).seconds == pytest.approx(dense_lower_bound(80, 1e12))
    assert lower_bound(80, work, 54, 0).seconds == pytest.approx(2 * dense_lower_bound(80, 1e12))


def test_the_slowest_resource_is_the_limit() -> None:
    work = replace(
        NOTHING, tensor_flops=10**6, async_bytes=32000, load_sectors=1000, store_sectors=24
    )
    bound = lower_bound(80, work, 108, 1.555e9)
    assert bound.limit == "DRAM"
    assert bound.seconds == pytest.approx(1e-3)
    assert bound.parts["L2"] == pytest.approx(32 * 1024 / 5120 / 1.41e9)
    more = lower_bound(80, work, 108, 0, issued_instructions=4 * 108 * 1.41e9)
    assert (more.limit, more.seconds) == ("instruction issue", pytest.approx(1.0))
    conflicts = replace(NOTHING, shared_load_wavefronts=2000, shared_store_wavefronts=820)
    assert lower_bound(80, conflicts, 2, 0).seconds == pytest.approx(1e-6)


def test_sparse_products_run_at_twice_the_rate_of_those_they_stand_for() -> None:
    work = replace(NOTHING, tensor_flops=10**12)
    dense, sparse = (lower_bound(80, work, 108, 0, tensor_format=f) for f in ("fp16", "fp16 2:4"))
    assert sparse.seconds == pytest.approx(dense.seconds / 2)


def test_loads_to_registers_go_through_l1_and_asynchronous_copies_do_not() -> None:
    work = replace(NOTHING, load_sectors=4000, async_bytes=32 * 1000)
    assert lower_bound(90, work, 1, 0).parts["L1"] == pytest.approx(3000 / 4 / 1.83e9)
    slow = lower_bound(80, NOTHING, 108, 0, fp32_flops=1e12)
    assert slow.limit == "CUDA cores"
    assert slow.seconds == pytest.approx(dense_lower_bound(80, 1e12, tensor_format="fp32"))


def test_a_report_says_that_it_is_no_measurement() -> None:
    text = str(lower_bound(90, replace(NOTHING, tensor_flops=10**9), 132, 1000))
    assert "sm_90 (H100): lower bound" in text
    assert "not a measurement" in text


def test_every_architecture_fits_its_blocks() -> None:
    for arch, a in ARCHITECTURES.items():
        assert a.name == f"sm_{arch}"
        assert a.shared_bytes_a_block == a.shared_bytes - 1024
