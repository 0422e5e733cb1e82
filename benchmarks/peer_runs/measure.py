"""Measures one configuration: every contestant loaded, checked, then timed in turn."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any, Protocol

import numpy

from peer_runs.machine import busy_seconds, children_seconds
from sparse_ovs.profiling.errors import MapErrors, map_errors

# Largest error of a value that rounding and Winograd explain in fp32.
_TOLERANCE = 1e-3
# Largest relative error of a map in lower precisions, which random weights amplify from block to
# block: every int8 is at 0.2 to 0.25 after RN50's last stage at 224 x 224, at 0.04 to 0.05 at 640.
# A contestant that computes something else is at 1 and more.
_COARSE_TOLERANCES = {"bf16": 0.2, "int8": 0.4}
# A turn is long enough for the clock, and for caches that a contestant has to win back.
_TURN_MS = 150
_MOST_PASSES = 5
# After a turn, spinning threads of the last contestant go to sleep.
_SETTLE_S = 0.05
_IDLE_S = 1.0
# Memory that has to be left, and how much larger than the largest so far the next one may be.
_SPARE_MB = 1000
_GROWTH = 1.5


class Worker(Protocol):
    """See WorkerProcess."""

    def load(self, job: Mapping[str, Any]) -> dict[str, str]: ...
    def warm(self, passes: int) -> float: ...
    def run(self, passes: int) -> float: ...
    def outputs(self, path: Path) -> None: ...
    def memory(self) -> dict[str, float]: ...
    def cpu_seconds(self) -> float: ...
    def close(self) -> None: ...


class Race:
    """The contestants of one configuration; who fails is left out with the reason.

    Attributes:
        workers: those still in, in order.
        failures, errors, facts, memory, idle, background, samples: see Measurement.
        passes: timed passes a turn, the same for all.
    """

    def __init__(self, failed: type[Exception], on_step: Callable[[str], None]) -> None:
        self._failed = failed
        self._on_step = on_step
        self.workers: dict[str, Worker] = {}
        self.failures: dict[str, str] = {}
        self.errors: dict[str, MapErrors] = {}
        self.facts: dict[str, dict[str, str]] = {}
        self.memory: dict[str, dict[str, float]] = {}
        self.idle: dict[str, float] = {}
        self.samples: dict[str, list[float]] = {}
        self.background = 0.0
        self.passes = 1
        self._warm_ms: dict[str, float] = {}

    def enter(
        self,
        name: str,
        start: Callable[[], Worker],
        job: Mapping[str, Any],
        reference: Path,
        available_mb: float,
        precision: str = "fp32",
    ) -> None:
        """Starts a contestant, loads it, and compares its outputs with the reference, as closely as
        its precision allows."""
        self._on_step(f"load {name}")
        largest = max((m["peak_mb"] for m in self.memory.values()), default=0.0)
        if available_mb < _SPARE_MB + _GROWTH * largest:
            self.failures[name] = f"left out: {available_mb / 1000:.1f} GB of memory left"
            return
        worker = self.workers[name] = start()
        try:
            self.facts[name] = worker.load(job)
            self._warm_ms[name] = worker.warm(3)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "outputs.npz"
                worker.outputs(path)
                self.errors[name] = errors_of(path, reference)
            self.memory[name] = worker.memory()
        except self._failed as error:
            self._drop(name, str(error))
            return
        errors = self.errors[name]
        coarse = _COARSE_TOLERANCES.get(precision)
        error = errors.largest if coarse is None else errors.relative
        if not error <= (coarse or _TOLERANCE):  # NaN too
            self._drop(name, f"wrong: relative error {error:.1e}")

    def rounds(self, count: int) -> None:
        """Times everybody `count` times in turn; who starts changes with the round."""
        self._measure_idle()
        if not self.workers:
            return
        fastest = min(self._warm_ms[name] for name in self.workers)
        self.passes = max(1, min(_MOST_PASSES, round(_TURN_MS / fastest)))
        self.samples = {name: [] for name in self.workers}
        start, others = perf_counter(), self._others_seconds()
        for index in range(count):
            self._on_step(f"round {index + 1} of {count}")
            for name in in_turn(list(self.workers), index):
                sleep(_SETTLE_S)
                try:
                    self.samples[name].append(self.workers[name].run(self.passes))
                except self._failed as error:
                    self._drop(name, str(error))
        self.background = (self._others_seconds() - others) / (perf_counter() - start)
        for name in list(self.workers):
            try:
                self.memory[name] = self.workers[name].memory()
            except self._failed as error:
                self._drop(name, str(error))

    def close(self) -> None:
        """Ends every process."""
        for worker in self.workers.values():
            with contextlib.suppress(OSError):
                worker.close()

    def _measure_idle(self) -> None:
        sleep(_SETTLE_S)
        before = {name: worker.cpu_seconds() for name, worker in self.workers.items()}
        sleep(_IDLE_S)
        for name, worker in self.workers.items():
            self.idle[name] = (worker.cpu_seconds() - before[name]) / _IDLE_S

    def _others_seconds(self) -> float:
        """Core seconds of everything but this race so far."""
        dropped = children_seconds()
        own = sum(worker.cpu_seconds() for worker in self.workers.values())
        return busy_seconds() - process_time() - own - dropped

    def _drop(self, name: str, reason: str) -> None:
        self.failures[name] = reason
        self.samples.pop(name, None)
        with contextlib.suppress(OSError):
            self.workers.pop(name).close()


def in_turn(names: Sequence[str], index: int) -> list[str]:
    """The order of one round: A B C, then B C A, then C A B."""
    first = index % len(names)
    return [*names[first:], *names[:first]]


def errors_of(outputs: Path, reference: Path) -> MapErrors:
    """Of the arrays in two files (see map_errors)."""
    with numpy.load(outputs) as ours, numpy.load(reference) as theirs:
        return map_errors([ours[key] for key in ours.files], [theirs[key] for key in theirs.files])
