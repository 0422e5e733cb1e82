"""A worker's side of the line protocol: load, warm, run, outputs, memory, quit.

Runs in every contestant's environment: the standard library, and numpy where outputs are written.
Each line on stdin is a command; each answer is one line on stdout, `ok` with JSON, or `error` with
a reason. Between commands a worker sleeps in read().

    load {json}    builds the contestant     -> ok {facts}
    warm N         runs it N times           -> ok (ms of the last)
    run N          once, then N times timed  -> ok (their median in ms)
    outputs PATH   writes its last outputs   -> ok
    memory         asks the system           -> ok {"peak_mb", "resident_mb", "imported_mb"}
    quit           (or the end of stdin) ends the process
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, TextIO


@dataclass(frozen=True)
class Job:
    """What a worker is asked to load.

    Attributes:
        model: an open_clip name.
        weights, onnx, input, calibration: files: state_dict (safetensors), graph, (N, 3, H, W)
            float32 (.npy), (batches, N, 3, H, W) of other images.
        option: the contestant's setting.
    """

    model: str
    weights: str
    onnx: str
    input: str
    calibration: str
    threads: int
    option: str


@dataclass
class Loaded:
    """A contestant that is ready.

    Attributes:
        run: one forward pass.
        arrays: turns what `run` returned into a list of numpy arrays.
        facts: strings worth reporting.
        imported_mb: resident memory of the process when its libraries were imported and nothing
            was loaded.
    """

    run: Callable[[], Any]
    arrays: Callable[[Any], Sequence[Any]]
    facts: dict[str, str]
    imported_mb: float = float("nan")


Load = Callable[[Job], Loaded]


def main(load: Load) -> None:
    """Serves this process's stdin until it ends; the first argument names the cores to stay on.

    `load` imports the runtime: thread pools must be born on those cores.
    """
    if len(sys.argv) > 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in sys.argv[1].split(",")})
    # Answers go to the real stdout; whatever a runtime prints goes to the log instead.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(load, sys.stdin, answers)


def serve(load: Load, commands: TextIO, answers: TextIO) -> None:
    """Answers commands until `quit` or the end; a command that fails is answered with the
    reason."""
    session = _Session(load)
    while line := commands.readline():
        verb, _, rest = line.strip().partition(" ")
        if verb == "quit":
            return
        try:
            answer = f"ok {json.dumps(session.do(verb, rest))}"
        except Exception as error:
            answer = f"error {one_line(error)}"
        answers.write(answer + "\n")
        answers.flush()


class _Session:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._loaded: Loaded | None = None
        self._last: Any = None

    def do(self, verb: str, rest: str) -> Any:
        if verb == "load":
            self._loaded = self._load(Job(**json.loads(rest)))
            return self._loaded.facts
        if verb == "warm":
            return [self._timed_pass() for _ in range(int(rest))][-1]
        if verb == "run":
            # Caches and threads come back from the other contestants' turns.
            self._timed_pass()
            return median(self._timed_pass() for _ in range(int(rest)))
        if verb == "outputs":
            self._write_outputs(rest)
            return None
        if verb == "memory":
            return memory_of("self") | {"imported_mb": self._ready().imported_mb}
        raise ValueError(f"expected load, warm, run, outputs, memory or quit, got {verb!r}")

    def _ready(self) -> Loaded:
        if self._loaded is None:
            raise RuntimeError("expected load before this, got nothing loaded")
        return self._loaded

    def _timed_pass(self) -> float:
        run = self._ready().run
        self._last = None  # as a caller that is done with the last maps
        start = perf_counter()
        self._last = run()
        return (perf_counter() - start) * 1e3

    def _write_outputs(self, path: str) -> None:
        import numpy

        arrays = self._ready().arrays(self._last)
        numpy.savez(path, *arrays)


def resident_mb() -> float:
    """Of this process, now."""
    return memory_of("self")["resident_mb"]


def memory_of(process: int | str) -> dict[str, float]:
    """Peak (VmHWM) and present (VmRSS) resident memory of a process in MB; NaN where the system
    does not tell."""
    names = {"VmHWM:": "peak_mb", "VmRSS:": "resident_mb"}
    found = dict.fromkeys(names.values(), float("nan"))
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return found
    for line in text.splitlines():
        label, _, value = line.partition("\t")
        if label in names:
            found[names[label]] = int(value.split()[0]) * 1024 / 1e6
    return found


def one_line(error: BaseException) -> str:
    """`Type: first line of the message`."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
