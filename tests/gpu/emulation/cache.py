"""Where compiled emulations are kept: by hash, outside the tree, shared by processes."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

RUNTIME = Path(__file__).parent / "runtime"
# More optimisation takes longer than small launches gain.
_COMMAND = ["g++", "-std=c++20", "-Og", "-ffp-contract=off", "-w", "-fPIC"]
if platform.machine() == "x86_64":
    _COMMAND += ["-mavx2", "-mf16c", "-mfma"]


def cache_folder() -> Path:
    """`SPARSE_OVS_EMULATION_CACHE`, or a folder of this user's in the system's temporary folder."""
    chosen = os.environ.get("SPARSE_OVS_EMULATION_CACHE")
    folder = Path(chosen or Path(tempfile.gettempdir()) / f"sparse-ovs-gpu-{getpass.getuser()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def compile_shared(source: str) -> Path:
    """The shared library of a C++ source that includes the runtime; compiled once.

    Safe in several processes at once: one compiles, the others wait for it.

    Raises:
        RuntimeError: where the compiler refuses, with what it says.
    """
    library = cache_folder() / f"{_key(source)}.so"

    def build(unfinished: Path) -> None:
        file = library.with_suffix(".cpp")
        file.write_text(source)
        # Stands in for the runtime's first header.
        compiled = ["-include", str(_standard_header())]
        _run([*compiled, f"-I{RUNTIME}", str(file), "-shared", "-o", str(unfinished)])

    return _made_once(library, build)


def _standard_header() -> Path:
    """A copy of the standard library's includes, with its compiled form beside it."""
    text = (RUNTIME / "standard.h").read_text()
    header = cache_folder() / f"standard-{_key(text)}.h"

    def build(unfinished: Path) -> None:
        header.write_text(text)
        _run(["-x", "c++-header", str(header), "-o", str(unfinished)])

    _made_once(header.with_suffix(".h.gch"), build)
    return header


def _made_once(file: Path, build: Callable[[Path], None]) -> Path:
    if file.exists():
        return file
    with open(file.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            unfinished = file.with_suffix(".unfinished")
            build(unfinished)
            os.replace(unfinished, file)
    return file


def _run(arguments: list[str]) -> None:
    result = subprocess.run([*_COMMAND, *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"g++ refuses {' '.join(arguments)}:\n{result.stderr[:2000]}")


def _key(source: str) -> str:
    runtime = "".join(file.read_text() for file in sorted(RUNTIME.glob("*.h")))
    return hashlib.sha256("\0".join([source, runtime, *_COMMAND]).encode()).hexdigest()[:24]
