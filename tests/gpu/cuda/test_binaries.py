"""CUDA sources are compiled by NVRTC when first used, and kept; where that fails, it is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sparse_ovs import _cuda
from sparse_ovs._cuda import binaries, nvrtc, sources

CSR = {"DTYPE": 0, "WARPS": 4, "VECTOR": 1, "RUNS": 1, "POINTWISE": 1}

needs_nvrtc = pytest.mark.skipif(
    bool(_cuda.unavailable_reason()), reason=_cuda.unavailable_reason()
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own, and nothing remembered."""
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(tmp_path / "cache"))
    remembered = (binaries._compiled, nvrtc.library, nvrtc.unavailable_reason)
    for function in remembered:
        function.cache_clear()
    yield tmp_path / "cache" / "cuda"
    monkeypatch.undo()
    for function in remembered:
        function.cache_clear()


@needs_nvrtc
def test_a_kernel_is_compiled_once_and_read_from_the_cache_then(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _cuda.compiled("csr_direct", 80, CSR)
    assert not first.is_ptx
    assert first.code.startswith(b"\x7fELF")
    (file,) = cache.iterdir()
    assert file.name.startswith("csr_direct-")
    assert file.suffix == ".cubin"
    binaries._compiled.cache_clear()
    monkeypatch.setattr(nvrtc, "compile_program", None)
    assert _cuda.compiled("csr_direct", 80, CSR) == first


@needs_nvrtc
def test_other_macros_architectures_and_sources_are_other_files(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _cuda.compiled("csr_direct", 80, CSR)
    _cuda.compiled("csr_direct", 80, {**CSR, "RUNS": 2})
    _cuda.compiled("csr_direct", 90, CSR)
    text = sources.source("csr_direct.cu")
    monkeypatch.setattr(binaries, "source", lambda name: f"{text}\n// changed\n")
    binaries._compiled.cache_clear()
    _cuda.compiled("csr_direct", 80, CSR)
    assert len(list(cache.iterdir())) == 4


@needs_nvrtc
def test_ptx_is_given_where_it_is_asked_for_and_for_gpus_that_nvrtc_does_not_know() -> None:
    asked = _cuda.compiled("csr_direct", 80, CSR, ptx=True)
    assert asked.is_ptx
    assert b".target sm_80" in asked.code
    newer = _cuda.compiled("csr_direct", 999, CSR)
    assert newer.is_ptx
    assert f".target sm_{nvrtc.supported_archs()[-1]}".encode() in newer.code


@needs_nvrtc
def test_a_cache_that_cannot_be_written_is_told_of_and_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match=r"to be writable, got .*SPARSE_OVS_CACHE names"):
        assert _cuda.compiled("csr_direct", 80, CSR).code


@needs_nvrtc
def test_an_old_gpu_is_refused() -> None:
    with pytest.raises(_cuda.CudaCompilerError, match=r"capability 8\.0 or newer, got 7\.5"):
        _cuda.compiled("csr_direct", 75, CSR)


@needs_nvrtc
def test_an_error_in_a_program_comes_with_the_compiler_s_words() -> None:
    with pytest.raises(
        _cuda.CudaCompilerError, match=r"expected bad\.cu to compile.*\n?.*nonsense"
    ):
        nvrtc.compile_program("bad.cu", "nonsense;", {}, ["--gpu-architecture=sm_80"], ptx=False)


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(_cuda.SourceError, match=r"expected one of .*csr_direct\.cu.*got 'no\.cu'"):
        sources.source("no.cu")


def test_missing_sources_are_told_with_where_they_were_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "candidates", lambda: [tmp_path / "nowhere"])
    with pytest.raises(
        _cuda.SourceError, match=r"expected the CUDA sources, got none in .*nowhere"
    ):
        sources.sources.__wrapped__()


@pytest.mark.parametrize(
    ("places", "message"),
    [([], "got none"), (["/nowhere/libnvrtc.so.13"], "got /nowhere/libnvrtc.so.13: ")],
)
def test_without_nvrtc_the_error_says_what_is_missing(
    places: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvrtc, "candidates", lambda: places)
    assert message in nvrtc.unavailable_reason()
    with pytest.raises(_cuda.CudaCompilerError, match="expected NVRTC, which comes with torch"):
        _cuda.compiled("csr_direct", 80, CSR)
