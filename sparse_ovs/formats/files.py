"""Files of tensors with a versioned JSON header: written atomically, read with clear errors."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

_HEADER_KEY = "sparse_ovs"
# By kind of file; a kind moves on when what it says of the same content changes.
_VERSIONS = {"plan": 2}


class FileFormatError(ValueError):
    """A file that is damaged, foreign, or written by a newer version."""


class ForeignFileError(FileFormatError):
    """A file that this library did not write."""


def format_version(kind: str | None) -> int:
    """The newest version of a kind of file: what is written, and the last that is read."""
    return _VERSIONS.get(kind or "", 1)


def write_file(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], header: dict[str, Any]
) -> None:
    """Writes tensors and header; a reader sees the old file or the whole new one, also after a
    crash.

    Args:
        path: the file; its folder must exist.
        tensors: contiguous tensors by name.
        header: JSON-able, with its "kind" where there are others; the format version is added.
    """
    text = json.dumps({"format_version": format_version(header.get("kind")), **header})
    content = safetensors.torch.save(dict(tensors), metadata={_HEADER_KEY: text})
    replace_file(path, content)


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file; a reader sees the old one or the whole new one, also after a crash. Its folder
    must exist."""
    path = Path(path)
    # In the same folder, so that the rename cannot cross file systems.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; a saved model has the permissions of any new file.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # makes the rename itself durable
    finally:
        os.close(folder)


def read_file(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and the header.

    Raises:
        FileNotFoundError: no such file.
        ForeignFileError: no whole safetensors file, or not of this library.
        FileFormatError: damaged otherwise, or newer than this library.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a file, got none at {path}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            header = _parse_header(path, metadata)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        # What is no safetensors file at all may be a file of others; ours may have been cut.
        raise ForeignFileError(f"expected a whole safetensors file, got {path}: {error}") from error
    return tensors, header


def _parse_header(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if _HEADER_KEY not in metadata:
        raise ForeignFileError(f"expected a file written by sparse_ovs, got another one: {path}")
    try:
        header = json.loads(metadata[_HEADER_KEY])
        version, newest = header["format_version"], format_version(header.get("kind"))
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise FileFormatError(f"expected a readable header, got a damaged one in {path}") from error
    if not isinstance(version, int) or version < 1:
        raise FileFormatError(f"expected a format version, got {version!r} in {path}")
    if version > newest:
        raise FileFormatError(
            f"expected format version {newest} or older, got {version} in {path}: "
            "update sparse_ovs to read it"
        )
    return header
