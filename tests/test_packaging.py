"""What an installed sparse_ovs brings: the library, its data and its command."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import sparse_ovs
from sparse_ovs import _native

# In a bare package of the same name and place: sparse_ovs itself imports torch.
_LOAD = (
    "import sys, types; bare = types.ModuleType('sparse_ovs'); "
    f"bare.__path__ = {list(sparse_ovs.__path__)!r}; sys.modules['sparse_ovs'] = bare; "
    "from sparse_ovs import _native"
)


def test_the_package_under_test_is_the_one_that_was_asked_for() -> None:
    wanted = os.environ.get("SPARSE_OVS_TEST_ROOT", ".")
    assert Path(sparse_ovs.__file__).is_relative_to(Path(wanted).resolve())


def test_the_version_of_the_package_is_the_version_of_the_distribution() -> None:
    assert importlib.metadata.version("sparse_ovs") == sparse_ovs.__version__


def test_the_compiled_library_is_found_and_loads() -> None:
    assert _native.unavailable_reason() == ""
    assert _native.isa() in _native.available_isas()


def test_the_package_is_typed_and_brings_its_density_profiles() -> None:
    root = Path(sparse_ovs.__file__).parent
    assert (root / "py.typed").is_file()
    assert (root / "backbones" / "profiles" / "rn50_trained.json").is_file()


def test_the_tiny_clip_of_emoji_comes_with_the_package() -> None:
    root = Path(sparse_ovs.__file__).parent
    assert (root / "backbones" / "models" / "emoji-RN50.json").is_file()
    assert (root / "backbones" / "models" / "emoji-RN50.safetensors").stat().st_size < 6e6
    assert (root / "segmenter" / "models" / "ATTRIBUTION.md").is_file()
    assert len(list((root / "segmenter" / "models" / "emoji-scenes").iterdir())) == 17


def test_the_tiny_clip_comes_with_the_package() -> None:
    models = Path(sparse_ovs.__file__).parent / "backbones" / "models"
    names = ("scenes-RN50.json", "scenes-RN50.safetensors", "scenes-RN50-imp10.safetensors")
    assert [name for name in names if not (models / name).is_file()] == []
    assert sum((models / name).stat().st_size for name in names) < 2.5e6


def test_the_cuda_sources_come_with_the_package() -> None:
    from sparse_ovs._cuda.sources import sources

    assert {"sp24_residue.cu", "csr_direct.cu", "number.cuh"} <= sources().keys()


def test_the_triton_kernels_are_a_subpackage() -> None:
    import sparse_ovs.kernels

    assert "Triton" in (sparse_ovs.kernels.__doc__ or "")


def test_a_folder_of_sources_says_how_it_is_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import sparse_ovs"],  # -S: without what is installed
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ImportError: expected sparse_ovs as installed, got its sources in" in done.stderr
    assert "`pip install -e .`" in done.stderr


def test_a_missing_library_is_one_clear_sentence() -> None:
    found = _run(
        {"SPARSE_OVS_LIBRARY": "/nowhere/libsparse_ovs.so"}, "_native.unavailable_reason()"
    )
    assert found.startswith("expected the compiled library libsparse_ovs.so, got none in /nowhere")


def test_a_library_of_another_kind_is_one_clear_sentence(tmp_path: Path) -> None:
    fake = tmp_path / "libsparse_ovs.so"
    fake.write_bytes(b"not a library")
    found = _run({"SPARSE_OVS_LIBRARY": str(fake)}, "_native.unavailable_reason()")
    assert found.startswith("expected a loadable library, got ")


def test_every_available_isa_can_be_forced() -> None:
    for isa in _native.available_isas():
        assert _run({"SPARSE_OVS_ISA": isa}, "_native.isa()") == isa


def test_an_unknown_isa_is_one_clear_sentence() -> None:
    found = _run({"SPARSE_OVS_ISA": "mmx"}, "_native.unavailable_reason()")
    assert found.startswith("expected SPARSE_OVS_ISA to be one of ")
    assert found.endswith("got 'mmx'")


def test_the_native_wrapper_does_not_need_torch() -> None:
    assert _run({}, "_native.isa(), 'torch' in sys.modules") == f"{_native.isa()} False"


def test_the_command_is_installed() -> None:
    points = importlib.metadata.entry_points(group="console_scripts", name="sparse-ovs")
    assert {point.value for point in points} == {"sparse_ovs.cli:main"}


def _run(environment: dict[str, str], expression: str) -> str:
    """What the expression over sparse_ovs._native gives in a process of its own, without torch."""
    code = f"{_LOAD}; print({expression})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=True,
    )
    return done.stdout.strip()
