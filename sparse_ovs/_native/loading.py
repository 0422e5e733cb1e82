"""Finds and loads the compiled library, and refuses one of another version."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import sys
from functools import lru_cache
from pathlib import Path

from sparse_ovs._native.signatures import declare

ABI_VERSION = 13

_STATUS_INVALID_ARGUMENT = 1
_STATUS_OUT_OF_MEMORY = 2


class NativeLibraryError(RuntimeError):
    """The compiled library is missing, of another version, or refuses to work on this CPU."""


class NativeRefusal(ValueError):
    """The library takes no such argument: a shape, a step, weights."""


def _library_name() -> str:
    return "libsparse_ovs.dylib" if sys.platform == "darwin" else "libsparse_ovs.so"


def candidates() -> list[Path]:
    """Places the library may lie in: named by the user, beside the package, or in the installed
    distribution.

    In an editable install the sources stay in the checkout and the library lies in site-packages.
    """
    named = os.environ.get("SPARSE_OVS_LIBRARY")
    if named:
        return [Path(named)]
    places = [Path(__file__).parents[1] / "lib" / _library_name()]
    try:
        files = importlib.metadata.files("sparse_ovs") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    places += [Path(str(file.locate())) for file in files if file.name == _library_name()]
    return places


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The library, loaded once. Raises NativeLibraryError."""
    places = candidates()
    place = next((p for p in places if p.is_file()), None)
    if place is None:
        looked = ", ".join(str(p) for p in places)
        raise NativeLibraryError(
            f"expected the compiled library {_library_name()}, got none in {looked}"
        )
    try:
        lib = ctypes.CDLL(str(place))
        lib.sovs_abi_version.restype = ctypes.c_int32
        found = lib.sovs_abi_version()
    except (OSError, AttributeError) as error:
        raise NativeLibraryError(f"expected a loadable library, got {place}: {error}") from error
    if found != ABI_VERSION:
        raise NativeLibraryError(
            f"expected a library with ABI version {ABI_VERSION}, got {found} in {place}: "
            "reinstall sparse_ovs"
        )
    declare(lib)
    if lib.sovs_isa() is None:
        raise NativeLibraryError(lib.sovs_last_error().decode())
    return lib


@lru_cache(maxsize=1)
def unavailable_reason() -> str:
    """Why the compiled library cannot be used; empty if it can."""
    try:
        library()
    except NativeLibraryError as error:
        return str(error)
    return ""


def check(status: int) -> None:
    """Raises what a call of the library reports: NativeRefusal, MemoryError or RuntimeError."""
    if status == 0:
        return
    message = library().sovs_last_error().decode()
    if status == _STATUS_INVALID_ARGUMENT:
        raise NativeRefusal(message)
    if status == _STATUS_OUT_OF_MEMORY:
        raise MemoryError(message)
    raise RuntimeError(message)
