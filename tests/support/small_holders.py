"""Processes that hold a folder, or try to, for the tests of its lock."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

from sparse_ovs.loop import PlaceInUse, hold_folder


def hold(folder: Path, said: Connection) -> None:
    """Says "held", or why not; then holds it until it is killed."""
    try:
        with hold_folder(folder):
            said.send("held")
            time.sleep(600)
    except PlaceInUse as error:
        said.send(str(error))


def hold_with_a_worker(folder: Path, said: Connection) -> None:
    """As `hold`, beside a forked process that outlives it and says its number once it runs."""
    with hold_folder(folder):
        if os.fork() == 0:
            said.send(os.getpid())
            time.sleep(600)
            os._exit(0)
        time.sleep(600)


def take_again_and_again(folder: Path, start: Event, said: Connection) -> None:
    """Takes the folder as often as it can in a second and looks whether anybody else is in; says
    how often it was in, and how often with another."""
    inside = folder.parent / "inside"
    taken = met = 0
    start.wait()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        try:
            with hold_folder(folder):
                taken += 1
                try:
                    os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    met += 1
                time.sleep(0.0002)
                inside.unlink(missing_ok=True)
        except PlaceInUse:
            continue
    said.send((taken, met))
