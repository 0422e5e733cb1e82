"""A folder of checkpoints: written atomically, checked when read, the newest few kept."""

from __future__ import annotations

import json
import os
import re
import warnings
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparse_ovs.formats import FileFormatError, read_file, write_file
from sparse_ovs.loop.configuration import differences
from sparse_ovs.loop.encoding import decode, encode

_KIND = "checkpoint"
_NAME = re.compile(r"step-(\d{8,})\.safetensors")


class Checkpoints:
    """Checkpoints of one run, `step-00001000.safetensors` and so on.

    Args:
        folder: made when it is missing. One process at a time writes there.
        keep: how many to keep, the newest.

    Raises:
        ValueError: keep < 1.
    """

    def __init__(self, folder: str | os.PathLike[str], keep: int) -> None:
        if keep < 1:
            raise ValueError(f"expected 1 or more checkpoints to keep, got {keep}")
        self.folder, self._keep = Path(folder), keep

    def steps(self) -> list[int]:
        """Steps that there are files of, ascending."""
        names = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(int(m[1]) for path in names if (m := _NAME.fullmatch(path.name)))

    def path(self, step: int) -> Path:
        """Where a step's checkpoint lies."""
        return self.folder / f"step-{step:08d}.safetensors"

    def save(self, step: int, state: dict[str, Any], config: Any) -> None:
        """Writes one, then removes the oldest beyond `keep`.

        Args:
            step: number of steps done.
            state: see loop.encoding for what it may hold.
            config: JSON; compared by `load`.

        Raises:
            TypeError: state that cannot be encoded.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # What a killed process left while it wrote.
        for rest in self.folder.glob(".step-*.safetensors.*"):
            rest.unlink()
        tensors, tree = encode(state)
        header = {"kind": _KIND, "step": step, "config": config, "tree": tree}
        write_file(self.path(step), tensors, {**header, "crc32": _checksum(tensors, header)})
        for old in self.steps()[: -self._keep]:
            self.path(old).unlink()

    def load(self, config: Any) -> tuple[int, dict[str, Any]] | None:
        """Step and state of the newest checkpoint that is whole; None where there is none at all.

        Damaged ones after it are warned of and renamed to `*.damaged`.

        Raises:
            FileFormatError: all are damaged.
            ValueError: it is of another configuration; says what differs.
        """
        damaged: list[Path] = []
        for step in reversed(self.steps()):
            try:
                state, saved = self._read(step)
            except FileFormatError as error:
                warnings.warn(
                    f"{error}; falling back to the checkpoint before it, if any", stacklevel=2
                )
                damaged.append(self.path(step))
                continue
            lines = differences(saved, config)
            if lines:
                raise ValueError(
                    f"expected the configuration of {self.path(step)}, got another one: "
                    + "; ".join(lines)
                )
            for path in damaged:
                path.rename(f"{path}.damaged")  # or it would count among those to keep
            return step, state
        if damaged:
            raise FileFormatError(
                f"expected a whole checkpoint in {self.folder}, got damaged ones only"
            )
        return None

    def _read(self, step: int) -> tuple[dict[str, Any], Any]:
        path = self.path(step)
        tensors, header = read_file(path)
        header.pop("format_version")
        expected = header.pop("crc32", None)
        if header.get("kind") != _KIND or expected != _checksum(tensors, header):
            raise FileFormatError(f"expected a whole checkpoint, got a damaged one: {path}")
        return decode(tensors, header["tree"]), header["config"]


def _checksum(tensors: dict[str, Tensor], header: dict[str, Any]) -> int:
    """CRC-32 of everything in the file."""
    checksum = zlib.crc32(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        shape = f"{name} {tensors[name].dtype} {list(tensors[name].shape)}"
        checksum = zlib.crc32(shape.encode(), checksum)
        checksum = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, checksum)
    return checksum
