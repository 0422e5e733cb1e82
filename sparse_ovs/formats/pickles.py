"""Reads others' pickles of plain data, and refuses everything that could run code."""

from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np


def load_plain_pickle(path: str | os.PathLike[str]) -> Any:
    """What a pickle holds, if that is plain types (numbers, strings, containers) and numpy arrays
    of numbers, strings and such objects.

    Raises:
        ValueError: no such file, a damaged one, or one that names anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"expected a pickle at {path}, got no such file")
    try:
        return _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(f"expected a pickle of plain data, got {path}: {error}") from error


class _Dtype:
    """Stands for numpy.dtype, whose own state could make pointers out of bytes."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code
        self.order = "="

    def __setstate__(self, state: tuple) -> None:
        _, self.order, subarray, names = state[:4]
        if subarray is not None or names is not None:
            raise ValueError("arrays of records are not plain data")

    def real(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class PlainArray(np.ndarray):
    """An array whose contents come by `__setstate__`."""

    def __setstate__(self, state: tuple) -> None:  # type: ignore[override]
        version, shape, dtype, fortran, contents = state
        super().__setstate__((version, shape, dtype.real(), fortran, contents))


def _array(_type: object, _shape: object, _code: object) -> np.ndarray:
    return np.ndarray.__new__(PlainArray, (0,))


def _array_of_buffer(buffer: Any, dtype: _Dtype, shape: Any, order: str) -> np.ndarray:
    return np.frombuffer(buffer, dtype.real()).reshape(shape, order=order)  # type: ignore[call-overload]


def _scalar(dtype: _Dtype, contents: bytes = b"") -> Any:
    return np.frombuffer(contents, dtype.real())[0]


def _bytes(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise ValueError(f"expected bytes written as latin1, got {encoding}")
    return text.encode("latin1")


# Since numpy 2, and before.
_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
# All that a pickle may ask for, by module and name, and what it gets.
PLAIN_GLOBALS: dict[tuple[str, str], Any] = {
    **{
        (module, name): value
        for module in ("builtins", "__builtin__")
        for name, value in {
            "set": set,
            "frozenset": frozenset,
            "complex": complex,
            "bytes": bytes,
            "bytearray": bytearray,
        }.items()
    },
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _bytes,
    ("numpy", "ndarray"): "numpy.ndarray",  # only ever an argument
    ("numpy", "dtype"): _Dtype,
    **{(module, "_reconstruct"): _array for module in _ARRAY_MODULES},
    **{(module, "scalar"): _scalar for module in _ARRAY_MODULES},
    ("numpy.core.numeric", "_frombuffer"): _array_of_buffer,
    ("numpy._core.numeric", "_frombuffer"): _array_of_buffer,
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return PLAIN_GLOBALS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not plain data") from None
