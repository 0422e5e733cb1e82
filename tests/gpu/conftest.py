"""Fixtures for GPU kernels, one for each rung of evidence: tests/gpu/README.md says how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gpu.emulation.budgets import Budgets, updating
from gpu.emulation.cache import cache_folder
from gpu.emulation.requirements import missing_compiler, missing_triton
from gpu.evidence.changes import is_slow, record_emulator
from gpu.evidence.claims import ALL_CLAIMS, claims_of
from sparse_ovs import kernel_evidence

if TYPE_CHECKING:
    from gpu.emulation.aot import Compiled
    from gpu.emulation.interpreter.probe import Probe
    from gpu.emulation.triton_driver import EmulatedGpu


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "proves(claims): what a kernel has shown where this passes")
    config.addinivalue_line("markers", "rests_on(names): slow while these kernels are as recorded")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Gathers what all tests together prove, those that are not going to run too, and leaves the
    tests of code that has not changed to the slow ones."""
    session.stash[ALL_CLAIMS] = {claim for item in items for claim in claims_of(item)}
    for item in items:
        if is_slow(item):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Where budgets are accepted, what a passed test proves goes into the record."""
    yield
    if updating() and (claims := claims_of(item)):
        from gpu.evidence.record import record
        from gpu.evidence.shipped import code_and_compiler

        record(kernel_evidence.FILE, claims, code_and_compiler)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where budgets are accepted, the emulator is recorded after all of its tests have passed."""
    ran = {item.path for item in session.items}
    tests = Path(__file__).parent.glob("tools/test_*.py")
    if updating() and session.testsfailed == 0 and ran.issuperset(tests):
        record_emulator()


@pytest.fixture(autouse=True, scope="session")
def _triton_cache() -> Iterator[None]:
    """Triton's compiled kernels lie beside the emulator's; the user's own cache is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(cache_folder() / "triton"))
        yield


def _need(*missing: str | None) -> None:
    for reason in missing:
        if reason is not None:
            pytest.skip(reason)


@pytest.fixture
def interpreter() -> Iterator[Probe]:
    """L0: in the test, `kernel[grid](cpu_tensors)` is interpreted, checked and counted."""
    _need(missing_triton())
    from gpu.emulation.interpreter.session import interpreting

    with interpreting() as probe:
        yield probe


@pytest.fixture(params=[80, 90], ids=["sm_80", "sm_90"])
def emulated_gpu(request: pytest.FixtureRequest) -> Iterator[EmulatedGpu]:
    """L1, L3: `kernel[grid](cpu_tensors)` runs its compiled PTX; `.launches` has the counters."""
    _need(missing_triton(), missing_compiler())
    from gpu.emulation.triton_driver import emulating

    with emulating(request.param, seed=1) as gpu:
        yield gpu


@pytest.fixture
def compiling() -> Callable[[int], AbstractContextManager[list[Compiled]]]:
    """L2: `with compiling(90) as found:` compiles launches for that architecture, and runs none."""
    _need(missing_triton())
    from gpu.emulation.aot import compiling

    return compiling


@pytest.fixture
def budgets() -> Budgets:
    """The committed figures of every kernel."""
    return Budgets(Path(__file__).parent / "budgets.json")
