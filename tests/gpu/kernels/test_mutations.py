"""Faults in the shipped Triton kernels' own PTX: a dropped barrier or wait, a mask one too wide.

Most tests count the faults that nothing notices, in budgets: some barriers and waits order what is
ordered already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
import torch

pytest.importorskip("triton", reason="needs triton, which is not installed")

from gpu.emulation.budgets import Budgets
from gpu.emulation.kernel import EmulatedFault
from gpu.emulation.mutations import Mutation, wider_masks, without_barriers, without_waits
from gpu.evidence.changes import rests_on
from gpu.kernels.bsr_problems import (
    ConvProblem,
    LinearProblem,
    Variant,
    assert_exact,
    integers,
)

if TYPE_CHECKING:
    from gpu.emulation.triton_driver import EmulatedGpu

pytestmark = rests_on("bsr_conv2d", "bsr_linear")

Mutate = Callable[[str], Iterator[Mutation]]

VARIANT = Variant((64, 64), torch.float16)
# More blocks than the pipeline holds, so that every stage is used again.
LONG = {
    "bsr_linear": LinearProblem(rows=600, out_features=128, in_features=512, density=0.9),
    "bsr_conv2d": ConvProblem(2, out_channels=128, in_channels=64, size=(16, 20), density=0.9),
}
# No dimension is a multiple of its tile, so that every mask holds something back.
RAGGED = {
    "bsr_linear": LinearProblem(
        rows=70, out_features=75, in_features=90, density=0.8, activation="relu", gap=3
    ),
    "bsr_conv2d": ConvProblem(
        batch=2,
        out_channels=75,
        in_channels=90,
        size=(9, 11),
        stride=(2, 1),
        padding=(1, 2),
        density=0.8,
    ),
}


def run(
    problem: LinearProblem | ConvProblem,
    direction: str,
    gpu: EmulatedGpu,
    change: Callable[[str], str],
) -> None:
    """Raises what the emulator or the comparison finds in one direction of a kernel."""
    torch.manual_seed(0)
    gpu.change = lambda name, ptx: change(ptx) if name == f"{direction}_kernel" else ptx
    for result in problem.results(VARIANT, integers):
        if result.name.replace(" ", "_").startswith(direction):
            assert_exact(result)
            if direction != "weight_gradient":
                return


def mutations(
    problem: LinearProblem | ConvProblem, direction: str, gpu: EmulatedGpu, mutate: Mutate
) -> list[Mutation]:
    """The faults of the PTX that the kernel compiles to, which is right."""
    compiled: list[str] = []

    def unchanged(ptx: str) -> str:
        compiled.append(ptx)
        return ptx

    run(problem, direction, gpu, unchanged)
    return list(mutate(compiled[0]))


def survives(
    problem: LinearProblem | ConvProblem, direction: str, gpu: EmulatedGpu, mutation: Mutation
) -> bool:
    try:
        run(problem, direction, gpu, lambda ptx: mutation.ptx)
    except (EmulatedFault, AssertionError):
        return False
    return True


@pytest.mark.parametrize("mutate", [without_barriers, without_waits])
def test_the_main_loop_ends_in_a_barrier_and_a_wait_that_it_needs(
    mutate: Mutate, emulated_gpu: EmulatedGpu
) -> None:
    problem = LONG["bsr_linear"]
    inside = [m for m in mutations(problem, "forward", emulated_gpu, mutate) if m.in_loop]
    with pytest.raises(EmulatedFault, match=r"race|in flight"):
        run(problem, "forward", emulated_gpu, lambda ptx: inside[-1].ptx)


@pytest.mark.slow
def test_a_mask_that_lets_one_row_too_many_through_is_caught(emulated_gpu: EmulatedGpu) -> None:
    problem = RAGGED["bsr_linear"]
    rows, *_ = mutations(problem, "forward", emulated_gpu, wider_masks)
    with pytest.raises(EmulatedFault, match="out-of-bounds"):
        run(problem, "forward", emulated_gpu, lambda ptx: rows.ptx)


@pytest.mark.slow
@pytest.mark.parametrize("mutate", [without_barriers, without_waits, wider_masks])
@pytest.mark.parametrize(
    ("operation", "direction"),
    [
        ("bsr_linear", "forward"),
        ("bsr_linear", "input_gradient"),
        ("bsr_linear", "weight_gradient"),
        ("bsr_conv2d", "forward"),
    ],
)
def test_few_faults_go_unnoticed(
    operation: str, direction: str, mutate: Mutate, emulated_gpu: EmulatedGpu, budgets: Budgets
) -> None:
    problem = (RAGGED if mutate is wider_masks else LONG)[operation]
    faults = mutations(problem, direction, emulated_gpu, mutate)
    unnoticed = [m.fault for m in faults if survives(problem, direction, emulated_gpu, m)]
    assert len(faults) >= 2
    assert len(unnoticed) <= len(faults) // 3, unnoticed
    name = f"{operation} {VARIANT.of(direction)} {mutate.__name__} sm_{emulated_gpu.arch}"
    budgets.check(name, {"unnoticed": len(unnoticed)})
