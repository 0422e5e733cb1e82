"""The driver is called as its C interface wants it; what fails there is told in its words."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu.emulation.requirements import missing_compiler
from sparse_ovs import _cuda
from sparse_ovs._cuda import driver

CSR = (("DTYPE", 0), ("POINTWISE", 1), ("RUNS", 1), ("VECTOR", 1), ("WARPS", 4))
DEVICE = 2
ARGUMENTS = (ctypes.c_void_p(0xABC0), ctypes.c_int32(-7), ctypes.c_int64(1 << 40))


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A driver of our own, and the file in which it writes what it was asked for."""
    if _cuda.unavailable_reason() or missing_compiler():
        pytest.skip(_cuda.unavailable_reason() or missing_compiler() or "")
    library = tmp_path / "libfake.so"
    source = Path(__file__).with_name("fake_driver.c")
    subprocess.run(["g++", "-x", "c", "-shared", "-fPIC", source, "-o", library], check=True)
    log = tmp_path / "calls"
    monkeypatch.setenv("FAKE_DRIVER_LOG", str(log))
    monkeypatch.setattr(driver, "_LIBRARIES", ("libnone.so.1", str(library)))
    remembered = (driver.library, driver.compute_capability, driver._function)
    for function in remembered:
        function.cache_clear()
    yield log
    for function in remembered:
        function.cache_clear()


def launch(shared_bytes: int = 1024) -> None:
    _cuda.launch("csr_direct", CSR, DEVICE, 0x55, (3, 2, 1), 128, shared_bytes, ARGUMENTS)


def test_a_kernel_is_compiled_for_the_gpu_loaded_once_and_launched_each_time(calls: Path) -> None:
    launch()
    launch()
    launched = "cuLaunchKernel 3 2 1, 128 1 1, 1024, 0x55, 0xabc0 -7 1099511627776"
    assert calls.read_text().splitlines() == [
        "cuInit",
        "cuDeviceGet",
        "cuDeviceGetAttribute",
        "cuDeviceGetAttribute",
        "cuModuleLoadData ELF",
        "cuModuleGetFunction csr_direct",
        launched,
        launched,
    ]
    assert driver.compute_capability(DEVICE) == 86


def test_more_shared_memory_than_usual_is_asked_for_first(calls: Path) -> None:
    launch(shared_bytes=50_000)
    assert calls.read_text().splitlines()[-2:] == [
        "cuFuncSetAttribute 8 50000",
        "cuLaunchKernel 3 2 1, 128 1 1, 50000, 0x55, 0xabc0 -7 1099511627776",
    ]


@pytest.mark.parametrize(
    "call", ["cuInit", "cuDeviceGet", "cuModuleLoadData", "cuModuleGetFunction", "cuLaunchKernel"]
)
def test_a_call_that_fails_is_told_in_the_driver_s_words(
    calls: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DRIVER_FAILS", call)
    with pytest.raises(_cuda.CudaDriverError, match=r"got error 719: unspecified launch failure"):
        launch()


def test_without_a_driver_the_error_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_LIBRARIES", ("libnone.so.1",))
    driver.library.cache_clear()
    with pytest.raises(_cuda.CudaDriverError, match="expected a CUDA driver, which comes with a"):
        launch()
