"""The cache of compiled emulations: found again, and shared by processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gpu.emulation import cache
from gpu.emulation.requirements import missing_compiler
from gpu.evidence.changes import EMULATOR, rests_on

pytestmark = [
    rests_on(EMULATOR),
    pytest.mark.skipif(missing_compiler() is not None, reason=str(missing_compiler())),
]

SOURCE = '#include "standard.h"\nextern "C" int answer() { return 42; }\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARSE_OVS_EMULATION_CACHE", str(tmp_path))
    return tmp_path


def test_a_source_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    library = cache.compile_shared(SOURCE)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("compiled again"))
    assert cache.compile_shared(SOURCE) == library


def test_another_source_or_command_is_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = {cache.compile_shared(SOURCE), cache.compile_shared(SOURCE + "\n")}
    monkeypatch.setattr(cache, "_COMMAND", [*cache._COMMAND, "-O0"])
    libraries.add(cache.compile_shared(SOURCE))
    assert len(libraries) == 3


def test_processes_at_once_get_the_same_whole_library(folder: Path) -> None:
    program = (
        "import ctypes, sys; sys.path[:0] = sys.argv[1:]\n"
        "from gpu.emulation.cache import compile_shared\n"
        f"print(ctypes.CDLL(str(compile_shared({SOURCE!r}))).answer())"
    )
    tests = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", program, tests]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in running] == ["42"] * 3
    assert not list(folder.glob("*.unfinished"))


def test_what_the_compiler_says_is_told() -> None:
    with pytest.raises(RuntimeError, match=r"g\+\+ refuses .*\n.*nonsense"):
        cache.compile_shared("nonsense;")
