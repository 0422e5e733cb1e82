"""The compiled library and its wrapper: every ISA, clear errors, memory that is given back."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

import sparse_ovs
from sparse_ovs import _native, ops
from sparse_ovs._native import loading
from sparse_ovs.formats import fit_mask
from sparse_ovs.ops import share_torch_threads
from support.oracles import assert_as_exact_as_torch
from support.problems import ConvProblem, conv_data

# Every kernel of an ISA: row heights, panels, layouts, epilogues, tails, pooled outputs.
PROBLEMS = [
    ConvProblem(batch, 19, 22, size, kernel, stride, padding, **how)
    for batch, size, kernel, stride, padding in [
        (1, (7, 7), (1, 1), (1, 1), (0, 0)),
        (17, (1, 1), (1, 1), (1, 1), (0, 0)),
        (2, (13, 70), (1, 1), (1, 1), (0, 0)),
        (2, (11, 35), (3, 3), (1, 1), (1, 1)),
        (2, (11, 35), (3, 3), (2, 2), (1, 1)),
        (1, (9, 41), (2, 5), (1, 3), (0, 2)),
    ]
    for how in (
        {},
        {"layout": "channels_last", "relu": True, "residual": True},
        {"pattern": "block4x1", "block_rows": 4, "norm": True},
        {"block_rows": 4, "layout": "channels_last", "relu": True},
        {"density": 0.0, "residual": True},
        {"density": 1.0, "relu": True, "residual": True, "bias": False},
    )
]
# A process asks for its ISA once: each has a child, forked after what takes its time to import.
SCRIPT = """
import os, sys
sys.path.insert(0, {folder!r})
import pytest, safetensors.torch
def run(isa):
    os.environ["SPARSE_OVS_ISA"] = isa
    from test_native import PROBLEMS, _native, pooled
    from support.problems import conv_data
    results = {{str(i): conv_data(p).run() for i, p in enumerate(PROBLEMS)}}
    results["pooled"] = pooled()
    results = {{name: y.contiguous() for name, y in results.items()}}
    safetensors.torch.save_file(results, f"{out}/{{isa}}")
    assert _native.isa() == isa
for isa in {isas!r}:
    child = os.fork()
    if child == 0:
        run(isa)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, isa
"""


def pooled() -> torch.Tensor:
    """Pools of both layouts, tails included."""
    x = torch.randn(2, 21, 10, 75, generator=torch.Generator().manual_seed(0))
    last = x.contiguous(memory_format=torch.channels_last)
    return torch.stack([ops.avg_pool2x2(x), ops.avg_pool2x2(last).contiguous()])


@pytest.fixture(scope="module")
def forced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results, a file for each ISA."""
    out = tmp_path_factory.mktemp("results")
    isas = _native.available_isas()
    script = SCRIPT.format(folder=str(Path(__file__).parent), out=str(out), isas=isas)
    environment = {**os.environ, "SPARSE_OVS_NUM_THREADS": "2"}
    safe = ["-P"] if sys.flags.safe_path else []
    subprocess.run([sys.executable, *safe, "-c", script], env=environment, check=True)
    return out


@pytest.mark.parametrize("isa", _native.available_isas())
def test_a_forced_isa_is_as_exact_as_torch(isa: str, forced: Path) -> None:
    results = safetensors.torch.load_file(forced / isa)
    for i, problem in enumerate(PROBLEMS):
        data = conv_data(problem)
        expected = data.torch(torch.float64), data.torch()
        assert_as_exact_as_torch(results[str(i)], *expected, scale=data.term_size())
    if isa == _native.isa():
        assert torch.equal(results["0"], conv_data(PROBLEMS[0]).run())
    torch.testing.assert_close(results["pooled"], pooled(), rtol=1e-6, atol=1e-6)


def test_the_chosen_isa_is_the_widest() -> None:
    if "SPARSE_OVS_ISA" not in os.environ:
        assert _native.isa() == _native.available_isas()[0]
    assert _native.available_isas()[-1] == "generic"


def test_an_unknown_isa_is_told_with_those_that_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A copy, since a library asks for its ISA only once.
    copy = shutil.copy(_place(), tmp_path / "libsparse_ovs.so")
    monkeypatch.setenv("SPARSE_OVS_LIBRARY", str(copy))
    monkeypatch.setenv("SPARSE_OVS_ISA", "mmx")
    names = ",".join(_native.available_isas())
    with pytest.raises(
        _native.NativeLibraryError,
        match=f"expected SPARSE_OVS_ISA to be one of {names}, got 'mmx'",
    ):
        loading.library.__wrapped__()


def test_a_missing_library_names_the_places_where_it_was_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPARSE_OVS_LIBRARY", "/nowhere/libsparse_ovs.so")
    with pytest.raises(
        _native.NativeLibraryError,
        match=r"expected the compiled library libsparse_ovs\.\w+, got none in /nowhere/",
    ):
        loading.library.__wrapped__()


def test_a_file_that_is_no_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").write_text("no library")
    monkeypatch.setenv("SPARSE_OVS_LIBRARY", str(tmp_path / "text"))
    with pytest.raises(
        _native.NativeLibraryError, match=r"expected a loadable library, got .*text"
    ):
        loading.library.__wrapped__()


def test_a_library_of_others_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    others = next(Path(torch.__file__).parent.glob("lib/libc10.*"))
    monkeypatch.setenv("SPARSE_OVS_LIBRARY", str(others))
    with pytest.raises(_native.NativeLibraryError, match=r"expected a loadable library, got .*c10"):
        loading.library.__wrapped__()


def test_a_library_of_another_version_asks_for_a_new_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "ABI_VERSION", 99)
    with pytest.raises(
        _native.NativeLibraryError,
        match=r"expected a library with ABI version 99, got \d+ in .*: reinstall sparse_ovs",
    ):
        loading.library.__wrapped__()


def test_without_the_library_its_absence_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "unavailable_reason", lambda: "expected the compiled library")
    found = ops.conv2d_unsupported(
        dtype=torch.float32,
        device=torch.device("cpu"),
        weight_shape=(8, 8, 3, 3),
        fit=lambda: fit_mask(torch.ones(8, 8, 3, 3, dtype=torch.bool), ops.BLOCKS),
    )
    assert found == ["expected the compiled library"]
    assert "native" not in ops.avg_pool_dtypes()


def test_a_file_that_is_no_openmp_runtime_is_told() -> None:
    with pytest.raises(
        _native.NativeLibraryError, match="expected an OpenMP runtime, got /nowhere"
    ):
        _native.use_openmp("/nowhere/libgomp.so")


@pytest.mark.parametrize("threads", [1, 3])
def test_the_library_s_own_threads_give_the_bits_of_openmp_s(threads: int) -> None:
    data = conv_data(ConvProblem(2, 24, 32, (15, 17)))
    sparse_ovs.set_num_threads(threads)
    expected = data.run()
    _native.use_openmp(None)
    try:
        assert torch.equal(data.run(), expected)
    finally:
        share_torch_threads()


def test_weights_that_the_library_finds_damaged_are_refused() -> None:
    row_ptr = torch.tensor([0, 1, 1], dtype=torch.int32)
    column = torch.tensor([5], dtype=torch.int32)  # of 3
    value = torch.ones(1)
    addresses = row_ptr.data_ptr(), column.data_ptr(), 32, value.data_ptr(), None
    with pytest.raises(ValueError, match="expected"):
        _native.NativeWeights((2, 3, 1, 1), 1, 1, *addresses)


def test_dense_weights_run_through_the_same_plans() -> None:
    weight, bias, x = torch.randn(10, 6, 3, 3), torch.randn(10), torch.randn(2, 6, 7, 9)
    weights = _native.NativeWeights.dense((10, 6, 3, 3), 1, weight.data_ptr(), bias.data_ptr())
    one = (1, 1)
    plan = _native.conv_plan(weights, x.shape, _native.NCHW, one, one, one, False, None, 2)
    y = torch.empty(2, 10, 7, 9)
    plan.run([x.data_ptr()], y.data_ptr(), 2)
    assert weights.nbytes() >= 4 * weight.numel()
    expected = [
        torch.nn.functional.conv2d(x.to(t), weight.to(t), bias.to(t), padding=1)
        for t in (torch.float64, torch.float32)
    ]
    assert_as_exact_as_torch(y, *expected, scale=10.0)


def _forget_idle_memory() -> None:
    """What tests before left idle makes room for buffers of 60 MB, four of which stay."""
    gc.collect()
    held = [_native.take_floats(15 << 20) for _ in range(5)]
    del held


def test_output_memory_is_used_again_and_counted_while_idle() -> None:
    _forget_idle_memory()
    floats = _native.take_floats(1 << 20)
    address = ctypes.addressof(floats)
    assert address % (2 << 20) == 0
    before = _native.idle_buffer_bytes()
    del floats
    assert _native.idle_buffer_bytes() == before + (4 << 20)
    again = _native.take_floats(1 << 20)
    assert ctypes.addressof(again) == address
    assert _native.idle_buffer_bytes() == before


def test_idle_output_memory_is_bounded() -> None:
    held = [_native.take_floats(16 << 20) for _ in range(6)]  # 64 MB each, never touched
    del held
    assert _native.idle_buffer_bytes() <= 256 << 20


def test_the_cpu_has_a_name() -> None:
    assert _native.cpu_name().strip()


def _place() -> Path:
    return next(p for p in loading.candidates() if p.is_file())
