"""One run a folder: a lock that its process holds, and that the system frees however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class PlaceInUse(ValueError):
    """Another run works in the folder, or on the file."""


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a folder, which is made where it is missing, by its file `lock`.

    The lock is `flock`'s: it is gone with its process, killed or not, so that a run may be taken up
    at once, and what the file says of a process that has ended holds up nobody. Between hosts it
    works where their file system passes such locks on, as NFS does. The file names the process for
    whoever is refused, and is removed in the end.

    Raises:
        PlaceInUse: another run works there, of this process or another; says which.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder / "lock", "folder", folder):
        yield


@contextmanager
def hold_file(path: Path) -> Iterator[None]:
    """Keeps other runs off a file, there yet or not, by `<path>.lock`; as `hold_folder`.

    Raises:
        PlaceInUse: another run works on it; says which.
    """
    with _held(path.with_name(f"{path.name}.lock"), "file", path):
        yield


@contextmanager
def _held(lock: Path, kind: str, place: Path) -> Iterator[None]:
    descriptor = _take(lock, kind, place)
    _ours.add(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _about_this_process(), 0)
        yield
    finally:
        if descriptor in _ours:  # not so in a process that was forked meanwhile
            lock.unlink(missing_ok=True)  # before it is free: nobody else can have it
            _ours.discard(descriptor)
            os.close(descriptor)


def _take(lock: Path, kind: str, place: Path) -> int:
    """An open file that this process alone has locked, and that lies at `lock`."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise PlaceInUse(
                f"expected a {kind} that no other run works in, got {place}, {owner}"
            ) from None
        except OSError as error:
            warnings.warn(
                f"expected a file system that locks files at {place}, got {error}: nothing keeps a "
                "second run away",
                RuntimeWarning,
                stacklevel=5,
            )
            return descriptor
        if _lies_at(descriptor, lock):
            return descriptor
        os.close(descriptor)  # the run that had it ended, and removed it, in between


def _lies_at(descriptor: int, lock: Path) -> bool:
    try:
        there = lock.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(descriptor)
    return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)


def _about_this_process() -> bytes:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode()


def _owner(descriptor: int) -> str:
    """Who holds the lock, in words."""
    try:
        about = json.loads(os.pread(descriptor, 4096, 0))
        return f"in use by process {about['pid']} on {about['host']} since {about['since']}"
    except (ValueError, KeyError, TypeError):  # it is about to write it, or is no run of ours
        return "in use by another process"


_ours: set[int] = set()


def _let_go() -> None:
    """In a forked child, such as one that reads images: an open copy of the file would go on
    holding the lock for a moment after its parent was killed."""
    for descriptor in _ours:
        os.close(descriptor)
    _ours.clear()


os.register_at_fork(after_in_child=_let_go)
