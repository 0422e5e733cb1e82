"""The record of evidence says what the tests prove of the code that ships: no less, no more."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("triton", reason="needs triton, which is not installed")

from gpu.emulation.budgets import UPDATE
from gpu.evidence.changes import EMULATOR, changed
from gpu.evidence.claims import ALL_CLAIMS, ANY_ARCH, Claim
from gpu.evidence.record import claims_in
from gpu.evidence.shipped import CUDA_KERNELS, code_and_compiler, shipped, triton_kernels
from sparse_ovs import _cuda
from sparse_ovs.kernel_evidence import FILE, RUNGS, kernel_evidence

HOW = f"run {UPDATE}=1 python -m pytest tests/gpu -m ''"
EMULATED, COMPILED = (80, 90), (80, 86, 89, 90, 100)


def test_every_shipped_variant_has_passed_every_rung() -> None:
    needed = {"L1": EMULATED, "L2": COMPILED, "L3": EMULATED}
    wanted = {
        Claim(kernel, variant, rung, arch)
        for kernel, variant in shipped()
        for rung, archs in needed.items()
        for arch in archs
    } | {Claim(k, variant, "L0") for k, variant in shipped() if k not in CUDA_KERNELS}
    missing = wanted - claims_in(FILE)
    assert not missing, f"expected evidence of {sorted(missing)[:5]}, ...: {HOW}"


def test_no_variant_is_recorded_that_does_not_ship() -> None:
    recorded = {(claim.kernel, claim.variant) for claim in claims_in(FILE)}
    assert recorded <= shipped()


def test_every_record_is_what_a_test_proves(request: pytest.FixtureRequest) -> None:
    config = request.config
    here = Path(__file__).parents[1]
    whole = any(here.is_relative_to(Path(arg).resolve()) for arg in config.args)
    if not whole or config.getoption("--quick"):
        pytest.skip("needs all tests of tests/gpu collected")
    unbacked = claims_in(FILE) - request.session.stash[ALL_CLAIMS]
    assert not unbacked, f"expected tests that prove {sorted(unbacked)[:5]}, ..."


@pytest.mark.parametrize("kernel", [*triton_kernels(), *CUDA_KERNELS])
def test_the_record_is_of_the_code_that_ships(kernel: str) -> None:
    if kernel in CUDA_KERNELS and (reason := _cuda.unavailable_reason()):
        pytest.skip(reason)
    code, _ = code_and_compiler(kernel)
    assert kernel_evidence()[kernel].code == code, f"{kernel} has changed since: {HOW} -k {kernel}"


def test_the_record_is_of_this_emulator() -> None:
    assert not changed(EMULATOR), f"the emulator or its tests have changed since: {HOW}"


def test_architectures_and_rungs_are_known() -> None:
    for claim in claims_in(FILE):
        assert claim.rung in RUNGS
        assert claim.arch in ((ANY_ARCH,) if claim.rung == "L0" else COMPILED)
