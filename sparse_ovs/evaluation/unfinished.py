"""Counts of an evaluation that was killed, to go on from."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sparse_ovs.evaluation.confusion import Confusion
from sparse_ovs.formats import FileFormatError, read_file, write_file
from sparse_ovs.loop.processes import Processes
from sparse_ovs.segmenter import Segmenter

# Seconds between two writes: what a kill costs at most.
_SECONDS = 30.0
_KIND = "unfinished evaluation"


class Unfinished:
    """A file of counts, one for each process, beside the given path: `PATH.0of2`, `PATH.1of2`.

    Args:
        path: in a folder that exists.
        protocol: of the evaluation, without its scores.
        segmenter: a Segmenter's weights are part of what must be the same; of anything else the
            protocol alone is.
        processes: that share the images.

    Attributes:
        path: of this process's file.
    """

    def __init__(
        self, path: Path, protocol: Mapping[str, Any], segmenter: Any, processes: Processes
    ) -> None:
        self.path = path.with_name(f"{path.name}.{processes.index}of{processes.count}")
        self._identity = _identity(protocol, segmenter)
        self._written = time.monotonic()

    def read(self, classes: int) -> tuple[int, Confusion]:
        """Images that this process has done, and their counts; none where there is no file.

        Raises:
            FileFormatError: a damaged or foreign file, or counts of another evaluation.
        """
        if not self.path.is_file():
            return 0, Confusion.empty(classes)
        tensors, header = read_file(self.path)
        if header.get("kind") != _KIND or header.get("identity") != self._identity:
            raise FileFormatError(
                "expected counts of the same protocol and weights, got those of another evaluation "
                f"in {self.path}: remove it to start anew"
            )
        try:
            return int(header["done"]), Confusion(tensors["counts"].numpy())
        except (KeyError, ValueError) as error:
            raise FileFormatError(f"expected counts in {self.path}: {error}") from error

    def write(self, done: int, confusion: Confusion) -> None:
        """Writes the file, where the last time is long ago."""
        if time.monotonic() - self._written < _SECONDS:
            return
        header = {"kind": _KIND, "identity": self._identity, "done": done}
        write_file(self.path, {"counts": torch.from_numpy(confusion.counts)}, header)
        self._written = time.monotonic()

    def remove(self) -> None:
        """Of an evaluation that has ended."""
        self.path.unlink(missing_ok=True)


def _identity(protocol: Mapping[str, Any], segmenter: Any) -> str:
    content = hashlib.blake2b(json.dumps(protocol, sort_keys=True).encode(), digest_size=16)
    if isinstance(segmenter, Segmenter):
        state = segmenter.state_dict() | segmenter.backbone.clip.model.state_dict()
        for name, value in sorted(state.items()):
            content.update(name.encode())
            content.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return content.hexdigest()
