"""Reads others' torch files: tensors and plain data, without running code of theirs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from sparse_ovs.formats.pickles import PLAIN_GLOBALS, PlainArray

# What DistributedDataParallel (DataParallel too) and torch.compile put before a model's names.
WRAPPERS = ("module.", "_orig_mod.")

# numpy's names stand for this library's own readers, never for numpy's: a dtype or an array of
# numpy's could make pointers out of a file's bytes. torch builds only what it has been told of, so
# the array's class is told under a name that no file can spell: names are read line by line.
_PLAIN: Any = [(made, f"{module}.{name}") for (module, name), made in PLAIN_GLOBALS.items()]
_PLAIN += [(PlainArray, "\n")]
_allowing = Lock()  # what torch allows is one list for all threads


def load_torch_file(path: str | os.PathLike[str]) -> Any:
    """What `torch.save` wrote, on the CPU: tensors, plain types, numpy arrays and numbers.

    Raises:
        ValueError: damaged, no such file, or one that asks for anything else.
    """
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # perhaps for a number of numpy's beside the tensors
            with _allowing, torch.serialization.safe_globals(_PLAIN):
                return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile, pickle and torch each raise their own
        raise ValueError(
            f"expected a torch file of tensors and plain data, got a damaged or foreign one: {path}"
        ) from error


def bare_key(name: str) -> str:
    """The name without the prefixes of WRAPPERS."""
    while name.startswith(WRAPPERS):
        name = name.partition(".")[2]
    return name


def bare_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by their names in the model itself, without the prefixes of WRAPPERS.

    Raises:
        ValueError: a name with and without a prefix.
    """
    bare: dict[str, Tensor] = {}
    for key, value in state.items():
        name = bare_key(key)
        if name in bare:
            raise ValueError(f"expected one tensor named {name}, got another one named {key}")
        bare[name] = value
    return bare
