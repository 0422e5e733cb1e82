"""Which way a sparse layer goes on a GPU: by the reasons of each, and then by the clock."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import sparse_ovs
from sparse_ovs import _cuda
from sparse_ovs.formats import fit_mask, pack_bsr, to_two_four, two_four_fit
from sparse_ovs.ops.cuda import choose
from sparse_ovs.ops.cuda.choose import Choice, Tuner, choices, unsupported_reasons
from sparse_ovs.ops.cuda.request import Arithmetic, LinearRequest
from sparse_ovs.ops.cuda.routes import BLOCKS, block_sparse
from sparse_ovs.ops.cuda.routes.torch_two_four import TorchTwoFour
from support.oracles import random_mask

HALF, SINGLE = Arithmetic(torch.float16), Arithmetic(torch.float32)
GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def everything_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton and NVRTC count as installed."""
    monkeypatch.setattr(block_sparse, "triton_unavailable", lambda: "")
    monkeypatch.setattr(_cuda, "unavailable_reason", lambda: "")


def names(mask: Tensor, arithmetic: Arithmetic) -> list[tuple[str, tuple[int, ...]]]:
    found = choices(fit_mask(mask, BLOCKS), arithmetic)
    return [(choice.route.name, choice.variant) for choice in found]


@pytest.mark.parametrize("shape", [(64, 128, 3, 3), (96, 80), (75, 90, 1, 1)])
@pytest.mark.parametrize("pattern", ["unstructured", "block32x32"])
def test_a_fit_is_what_packing_would_store(shape: tuple[int, ...], pattern: str) -> None:
    mask = random_mask(shape, 0.3, pattern)
    fit = fit_mask(mask, BLOCKS)
    weight = torch.ones(shape)
    assert fit.kept == int(mask.sum())
    assert fit.places == mask.numel()
    for block in BLOCKS:
        assert fit.slots[block] == pack_bsr(weight, mask, block).values.numel()
    assert fit.residue == two_four_fit(mask).residue
    assert fit.residue == to_two_four(weight, mask).residue.kept


def test_blocks_go_to_the_largest_block_that_stores_no_more() -> None:
    mask = random_mask((128, 128), 0.5, "block64x64")
    found = names(mask, HALF)
    assert found[:4] == [("bsr", (64, 64)), ("bsr", (32, 32)), ("bsr", (16, 64)), ("bsr", (16, 16))]


def test_blocks_that_would_be_filled_with_zeros_are_left_out() -> None:
    mask = random_mask((128, 128), 0.25, "block32x32")
    blocks = [variant for name, variant in names(mask, HALF) if name == "bsr"]
    assert blocks[0] == (32, 32)
    assert (16, 16) in blocks
    assert (64, 64) not in blocks


def test_float32_without_tensor_cores_takes_no_block_that_spills() -> None:
    mask = random_mask((128, 128), 0.5, "block64x64")
    assert names(mask, SINGLE)[0] == ("bsr", (32, 32))
    assert names(mask, Arithmetic(torch.float32, tf32=True))[0] == ("bsr", (64, 64))


def test_single_weights_take_sparse_tensor_cores_in_halves_and_none_in_float32() -> None:
    mask = random_mask((128, 128), 0.1, "unstructured")
    assert names(mask, HALF)[0] == ("sp24_residue", ())
    assert names(mask, SINGLE) == [("csr_direct", ())]


def test_a_mask_that_is_far_from_2_4_runs_weight_by_weight() -> None:
    mask = random_mask((128, 128), 0.4, "unstructured")
    assert names(mask, HALF) == [("csr_direct", ())]


def test_every_way_that_is_closed_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = random_mask((128, 128), 0.4, "unstructured")
    fit = fit_mask(mask, BLOCKS)
    assert unsupported_reasons(fit, SINGLE) == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(_cuda, "unavailable_reason", lambda: "expected NVRTC")
    blocks, compiler, library = unsupported_reasons(fit, SINGLE)
    assert re.fullmatch(r"bsr: 16x16 blocks would store 2\.\d+ slots a kept weight", blocks)
    assert compiler == "expected NVRTC"
    assert library.startswith("torch_2:4: no GPU")
    monkeypatch.setattr(block_sparse, "triton_unavailable", lambda: "expected triton")
    assert unsupported_reasons(fit, HALF) == ["expected triton", "expected NVRTC", library]


def test_torch_s_own_2_4_runs_plain_2_4_products_in_halves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask = random_mask((64, 128), 0.5, "2:4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cusparselt, "is_available", lambda: False)
    assert names(mask, HALF)[-1][0] == "csr_direct"
    monkeypatch.setattr(torch.backends.cusparselt, "is_available", lambda: True)
    assert names(mask, HALF)[-1][0] == "torch_2:4"
    others = (
        (mask, SINGLE),
        (random_mask((48, 128), 0.5, "2:4"), HALF),
        (random_mask((64, 128, 1, 1), 0.5, "2:4"), HALF),
        (random_mask((64, 128), 0.4, "unstructured"), HALF),
    )
    for other, arithmetic in others:
        assert names(other, arithmetic)[-1][0] == "csr_direct"


def test_torch_s_own_2_4_multiplies_the_kept_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.sparse, "to_sparse_semi_structured", lambda weight: weight)
    weight, mask = torch.randn(32, 64), random_mask((32, 64), 0.5, "2:4")
    x, bias = torch.randn(5, 64).bfloat16(), torch.randn(32)
    arithmetic = Arithmetic(torch.bfloat16)
    route = TorchTwoFour()
    packed = route.pack(weight, mask, (), arithmetic, None)
    y = route.linear(LinearRequest(x, True, arithmetic), packed, bias, ())
    expected = (x.double() @ (weight * mask).bfloat16().double().T + bias.bfloat16()).relu()
    torch.testing.assert_close(y.double(), expected, rtol=2**-7, atol=2**-7)
    assert not packed[~mask].any()


class Clock:
    """Times that are given, by choice; counts how often it was asked."""

    def __init__(self, times: dict[str, float]) -> None:
        self.times, self.asked = times, 0

    def __call__(self, call: Callable[[], object], device: torch.device) -> float:
        self.asked += 1
        return self.times[str(call())]


CANDIDATES = [Choice(route, ()) for route in choose.ROUTES[:3]]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A GPU that can be timed; the file where results are kept."""
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(tmp_path))
    monkeypatch.setattr(choose, "_can_time", lambda device: True)
    monkeypatch.setattr(choose, "_gpu", lambda device: "a GPU")
    return tmp_path / "gpu_tunings.json"


def fastest(tuner: Tuner, size: tuple[object, ...] = ((1, 2), SINGLE)) -> str:
    layer = ((64, 64), 410)
    return tuner.fastest(CANDIDATES, layer, size, GPU, lambda choice: choice.route.name).route.name


def test_the_fastest_choice_is_taken_timed_once_and_found_again_on_disk(timed: Path) -> None:
    clock = Clock({"bsr": 3.0, "sp24_residue": 1.0, "csr_direct": 2.0})
    tuner = Tuner(clock)
    assert fastest(tuner) == fastest(tuner) == "sp24_residue"
    assert clock.asked == 3
    assert fastest(tuner, ((1, 3), SINGLE)) == "sp24_residue"
    assert clock.asked == 6
    assert fastest(Tuner(clock)) == "sp24_residue"
    assert clock.asked == 6


def test_a_result_of_what_is_no_candidate_any_more_is_timed_again(timed: Path) -> None:
    clock = Clock({"bsr": 3.0, "sp24_residue": 1.0, "csr_direct": 2.0})
    fastest(Tuner(clock))
    timed.write_text(timed.read_text().replace("sp24_residue[]", "gone[]"))
    assert fastest(Tuner(clock)) == "sp24_residue"
    assert clock.asked == 6


def test_a_damaged_file_is_told_of_and_timed_again(timed: Path) -> None:
    clock = Clock({"bsr": 3.0, "sp24_residue": 1.0, "csr_direct": 2.0})
    fastest(Tuner(clock))
    content = json.loads(timed.read_text())
    for sizes in content["tunings"]["a GPU"].values():
        sizes.update(dict.fromkeys(sizes, 7))
    timed.write_text(json.dumps(content))
    with pytest.warns(RuntimeWarning, match="damaged or foreign"):
        assert fastest(Tuner(clock)) == "sp24_residue"


def test_the_results_of_a_run_elsewhere_serve_as_a_record(
    timed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock({"bsr": 3.0, "sp24_residue": 1.0, "csr_direct": 2.0})
    fastest(Tuner(clock))
    tunings = json.loads(timed.read_text().replace("sp24_residue[]", "csr_direct[]"))["tunings"]
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"format_version": 1, "steps": [], "tunings": tunings}))
    monkeypatch.setenv(choose.TUNINGS_VARIABLE, str(results))
    assert fastest(Tuner(clock)) == "csr_direct"  # goes before what the cache holds
    assert clock.asked == 3
    assert "sp24_residue[]" in timed.read_text()
    timed.unlink()
    assert fastest(Tuner(clock)) == "csr_direct"
    assert clock.asked == 3


def test_a_record_that_is_named_and_not_there_is_told_of(
    timed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(choose.TUNINGS_VARIABLE, str(tmp_path / "gone.json"))
    clock = Clock({"bsr": 3.0, "sp24_residue": 1.0, "csr_direct": 2.0})
    with pytest.warns(RuntimeWarning, match="which SPARSE_OVS_GPU_TUNINGS names, got no such file"):
        assert fastest(Tuner(clock)) == "sp24_residue"


def test_one_candidate_and_a_device_without_a_clock_are_not_timed(timed: Path) -> None:
    tuner = Tuner(Clock({}))
    run = torch.zeros
    assert tuner.fastest(CANDIDATES[:1], (), (), GPU, run) == CANDIDATES[0]  # type: ignore[arg-type]
    choose_on_cpu = Tuner(Clock({}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "_can_time", lambda device: False)
        assert choose_on_cpu.fastest(CANDIDATES, (), (), GPU, run) == CANDIDATES[0]  # type: ignore[arg-type]


def test_a_cpu_is_not_timed() -> None:
    assert not choose._can_time(torch.device("cpu"))


def test_blocks_of_the_route_are_those_that_the_kernels_are_built_for() -> None:
    tiles = pytest.importorskip("sparse_ovs.kernels.tiles")
    assert tiles.BLOCKS == BLOCKS
    for block in BLOCKS:
        tiles.tile_for(block, torch.float16)
        tiles.tile_for(block, torch.float32, "tf32")
        if block != (64, 64):
            tiles.tile_for(block, torch.float32, "ieee")


def test_a_sparse_module_on_the_cpu_does_not_measure_how_it_fits_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sparse_ovs.nn.structure.fit_mask", None)
    model = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 1))
    assert sparse_ovs.sparsify(model, density=0.3, engine="native").layers[0].backend == "native"
