"""A folder for PYTHONPATH: this checkout as it would be installed, and packages that are missing.

Nothing is installed and nothing is fetched: wheels are unpacked, sources are copied.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_LIBRARY = "libsparse_ovs.so"


def make_site(root: Path, site: Path, wheels: Path) -> list[str]:
    """Fills `site`; gives what was done and what is missing, a line each.

    Args:
        root: of the checkout.
        site: made anew.
        wheels: folder of wheels, sparse_ovs's own among them; it need not exist.
    """
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    notes = []
    own = None
    for wheel in sorted(wheels.glob("*.whl")):
        name, number = wheel.name.split("-")[:2]
        if name == "sparse_ovs":
            own = wheel
        elif not _fits(wheel):
            notes.append(f"{wheel.name}: not for Python {sys.version.split()[0]}")
        elif (there := _installed(name)) is not None:
            notes.append(f"{name} {there} is installed")
        else:
            with zipfile.ZipFile(wheel) as file:
                file.extractall(site)
            notes.append(f"{name} {number} from {wheels.name}/")
    package = site / "sparse_ovs"
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "sparse_ovs", package, ignore=skipped)
    shutil.copytree(root / "kernels", package / "kernels", ignore=skipped)
    shutil.copytree(root / "csrc" / "cuda", package / "cuda_sources")
    notes.append(_add_library(root, package / "lib", own))
    return notes


def _add_library(root: Path, folder: Path, own: Path | None) -> str:
    """The CPU library: the wheel's, an installed one, or one that is compiled now."""
    folder.mkdir(exist_ok=True)
    if own is not None:
        with zipfile.ZipFile(own) as file:
            for name in file.namelist():
                # The library, and what auditwheel put beside it.
                if name.startswith(("sparse_ovs/lib/", "sparse_ovs.libs/")):
                    file.extract(name, folder.parents[1])
        return f"the CPU library from {own.name}"
    if _installed("sparse_ovs") is not None:
        return "the CPU library of the installed sparse_ovs"
    tools = [tool for tool in ("cmake", "c++") if shutil.which(tool) is None]
    if tools:
        return f"no CPU library: no wheel of sparse_ovs, and no {' and no '.join(tools)}"
    build = folder.parents[2] / "native"
    commands = (
        ["cmake", "-S", str(root), "-B", str(build)],
        ["cmake", "--build", str(build), "--parallel"],
    )
    for command in commands:
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode:
            return f"no CPU library: {' '.join(command)}: {made.stderr.strip()[-500:]}"
    (library,) = build.rglob(_LIBRARY)
    shutil.copy(library, folder)
    return "the CPU library, compiled now"


def _fits(wheel: Path) -> bool:
    """By the tags in its name: pure, of the stable ABI, or of this very Python."""
    python, abi, _ = wheel.stem.split("-")[-3:]
    own = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return "py3" in python.split(".") or abi == "abi3" or own in python.split(".")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
