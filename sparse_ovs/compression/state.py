"""The folder of a run: what is done lies there, so that a killed run goes on to the same bits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.compression.images import Images
from sparse_ovs.formats import FileFormatError, read_file, replace_file, write_file
from sparse_ovs.loop import hold_folder

_KIND = "compression"


class RunState:
    """Results of a run by name, each made once.

    Args:
        folder: where they are kept; None keeps nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def part(self, name: str) -> RunState:
        """Results of a part of the run, under names of their own."""
        if self._folder is None:
            return self
        (self._folder / name).mkdir(exist_ok=True)
        return RunState(self._folder / name)

    def json(self, name: str, make: Callable[[], Any]) -> Any:
        """A result of JSON, made where there is none."""
        if self._folder is None:
            return make()
        path = self._folder / f"{name}.json"
        if path.is_file():
            try:
                return json.loads(path.read_text())
            except ValueError as error:
                raise FileFormatError(f"expected JSON in {path}, got other text") from error
        # As it is read back: numbers of a killed run are those of one that was not.
        text = json.dumps(make())
        replace_file(path, text.encode())
        return json.loads(text)

    def tensors(self, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """A result of tensors, made where there is none."""
        if self._folder is None:
            return make()
        path = self._folder / f"{name}.safetensors"
        if not path.is_file():
            made = {key: value.detach().contiguous().clone() for key, value in make().items()}
            write_file(path, made, {"kind": _KIND})
            return made
        return read_file(path)[0]


@contextmanager
def run_state(folder: Path | None, about: Mapping[str, Any]) -> Iterator[RunState]:
    """Opens the folder of a run, and keeps other runs out of it.

    Args:
        folder: made where it is missing; None for a run that keeps nothing.
        about: what decides the result, JSON.

    Raises:
        PlaceInUse: another run works there.
        ValueError: the folder holds a run of something else; says what differs.
    """
    if folder is None:
        yield RunState()
        return
    with hold_folder(folder):
        state = RunState(folder)
        wanted = json.loads(json.dumps(about))
        known = state.json("run", lambda: wanted)
        differ = [key for key in {**wanted, **known} if wanted.get(key) != known.get(key)]
        if differ:
            key = differ[0]
            raise ValueError(
                f"expected a folder of this run, got one with another {key} in {folder}: "
                f"{known.get(key)!r}, not {wanted.get(key)!r}"
            )
        yield state


def fingerprint(module: nn.Module, images: Images) -> dict[str, str]:
    """Hashes of the weights and of the images."""
    weights = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            weights.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            weights.update(_bytes(value))
    seen = hashlib.sha256(_bytes(images.calibration))
    seen.update(_bytes(images.held_out))
    return {"weights": weights.hexdigest()[:16], "images": seen.hexdigest()[:16]}


def _bytes(value: Tensor) -> Any:
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
