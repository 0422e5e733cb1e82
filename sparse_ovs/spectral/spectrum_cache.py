"""Spectra on disk: what was computed once for a weight is read for the same weight again."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import torch
from torch import Tensor

from sparse_ovs.cache import VARIABLE, cache_folder
from sparse_ovs.formats import FileFormatError, read_file, write_file
from sparse_ovs.spectral.spectrum import spectrum

_KIND = "spectrum"
_METHOD = 2  # raised when `spectrum` gives other numbers


def cached_spectrum(
    weight: Tensor, *, windows: bool = False, device: torch.device | str | None = None
) -> Tensor:
    """As `spectrum`, kept under SPARSE_OVS_CACHE by a hash of the weight's values and shape.

    A damaged file is computed and written again; warns, once a folder, where nothing can be
    written.
    """
    path = _path(weight, windows)
    try:
        tensors, header = read_file(path)
        if header.get("kind") == _KIND:
            return tensors[_KIND]
    except (OSError, FileFormatError, KeyError):
        pass  # none yet, or none to be used
    found = spectrum(weight, windows=windows, device=device)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, {_KIND: found}, {"kind": _KIND})
    except OSError as error:
        if path.parent not in _told:
            _told.add(path.parent)
            warnings.warn(
                f"expected {path.parent} to be writable, got {error}: spectra are computed again "
                f"next time ({VARIABLE} names another folder)",
                RuntimeWarning,
                stacklevel=2,
            )
    return found


_told: set[Path] = set()  # folders that could not be written


def _path(weight: Tensor, windows: bool) -> Path:
    values = weight.detach().to("cpu", torch.float64).contiguous()
    about = f"{_METHOD} {windows} {tuple(weight.shape)} "
    content = hashlib.blake2b(about.encode(), digest_size=16)
    content.update(values.numpy().tobytes())
    return cache_folder() / "spectra" / f"{content.hexdigest()}.safetensors"
