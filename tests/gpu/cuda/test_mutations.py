"""Faults in the shipped CUDA kernels' own PTX: masks one too wide are caught, every one of them.

`test_sp24_residue.py` drops barriers and waits. `csr_direct` has barriers of a warp alone, which
the emulator runs in step: it would not notice if they were gone.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpu.cuda import test_csr_direct as csr
from gpu.cuda import test_sp24_residue as sp24
from gpu.cuda.emulated import assert_rounded_once, need_emulator, run
from gpu.emulation.kernel import EmulatedFault
from gpu.emulation.mutations import Mutation, wider_masks
from sparse_ovs import _cuda

CASES = {
    "csr_direct, pointwise": replace(csr.MATMUL, density=0.6),
    "csr_direct, windowed": replace(csr.CONV, density=0.6),
    # A part of a step and of a tile, so that every mask holds something back.
    "sp24_residue, linear": replace(sp24.ALIGNED, channels=72, density=0.6),
    "sp24_residue, conv": replace(sp24.CONV, out_channels=72, density=0.6),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=() if "pointwise" in name else pytest.mark.slow)
        for name, case in CASES.items()
    ],
)
def test_every_mask_is_needed(case: csr.Case | sp24.Case) -> None:
    need_emulator()
    launched, fp64, terms = case.launch()
    launch = launched[0]
    ptx = _cuda.compiled(launch.kernel, 80, launch.defines, ptx=True).code.decode()
    faults = list(wider_masks(ptx))
    assert len(faults) >= 2

    def is_noticed(mutation: Mutation) -> bool:
        try:
            found, _ = run(launched, change=lambda _: mutation.ptx)
            assert_rounded_once(found, fp64, terms)
        except (EmulatedFault, AssertionError):
            return True
        return False

    assert [mutation.fault for mutation in faults if not is_noticed(mutation)] == []
