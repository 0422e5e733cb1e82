"""Where compiled emulations are kept: by hash, outside the tree, shared by processes."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import os
import platform
import subprocess
import tempfile
from pathlib import Path

RUNTIME = Path(__file__).parent / "runtime"
_COMMAND = ["g++", "-std=c++20", "-O1", "-ffp-contract=off", "-w", "-fPIC", "-shared"]
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
    folder = cache_folder()
    library = folder / f"{_key(source)}.so"
    if library.exists():
        return library
    with open(folder / f"{library.stem}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if library.exists():
            return library
        file = library.with_suffix(".cpp")
        file.write_text(source)
        unfinished = library.with_suffix(".unfinished")
        command = [*_COMMAND, f"-I{RUNTIME}", str(file), "-o", str(unfinished)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"g++ refuses {file}:\n{result.stderr[:2000]}")
        os.replace(unfinished, library)
    return library


def _key(source: str) -> str:
    runtime = "".join(file.read_text() for file in sorted(RUNTIME.glob("*.h")))
    return hashlib.sha256("\0".join([source, runtime, *_COMMAND]).encode()).hexdigest()[:24]
