"""Runs configurations one after another: files, contestants, rounds, record."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from peer_runs import artifacts as artifact_files
from peer_runs.artifacts import Artifacts
from peer_runs.cases import Configuration
from peer_runs.contestants import CONTESTANTS
from peer_runs.environments import Environments, cores_for, worker_command, worker_variables
from peer_runs.machine import available_mb, code_fingerprint, describe_machine
from peer_runs.measure import Race
from peer_runs.record import Measurement, Store
from peer_runs.worker_process import ContestantFailed, WorkerProcess


class Runner:
    """Measures configurations, or finds them finished.

    Args:
        out: folder of everything that is written.
        environments: of all contestants that will be asked for.
        rounds: samples of each contestant.
        fresh: measure again what is finished.
        on_step: called with a line of text when a step begins.
    """

    def __init__(
        self,
        out: Path,
        environments: Environments,
        rounds: int,
        fresh: bool,
        on_step: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._out = out
        self._environments = environments
        self._rounds = rounds
        self._fresh = fresh
        self._on_step = on_step
        self._store = Store(out / "results")
        self._code = code_fingerprint()
        self._machine = describe_machine()

    def finished(
        self, configuration: Configuration, contestants: Sequence[str]
    ) -> Measurement | None:
        """The stored measurement, where it is what measuring now would give."""
        stored = None if self._fresh else self._store.load(configuration)
        if stored is None:
            return None
        versions = self._versions(contestants)
        same = stored.answers(contestants, self._rounds, self._code, versions, self._machine)
        return stored if same else None

    def measure(self, configuration: Configuration, contestants: Sequence[str]) -> Measurement:
        """Measures and stores a configuration."""
        race = Race(ContestantFailed, self._on_step)
        try:
            for name in contestants:
                self._enter(race, configuration, name)
            race.rounds(self._rounds)
        finally:
            race.close()
        measurement = Measurement(
            configuration,
            list(contestants),
            self._rounds,
            race.passes,
            self._code,
            self._versions(contestants),
            self._machine,
            datetime.now().astimezone().isoformat(timespec="seconds"),
            race.samples,
            race.errors,
            race.failures,
            race.memory,
            race.idle,
            race.background,
            race.facts,
        )
        self._store.save(measurement)
        return measurement

    def forget_files(self, configuration: Configuration) -> None:
        """Removes the cached weights, graph and compiled code of a configuration."""
        for one in (configuration, artifact_files.unpruned(configuration)):
            shutil.rmtree(artifact_files.folder_of(one, self._cache), ignore_errors=True)

    @property
    def _cache(self) -> Path:
        return self._out / "cache"

    def _versions(self, contestants: Sequence[str]) -> dict[str, str]:
        return {name: self._environments.version(CONTESTANTS[name]) for name in contestants}

    def _enter(self, race: Race, configuration: Configuration, name: str) -> None:
        contestant = CONTESTANTS[name]
        version = self._environments.version(contestant)
        if version.startswith("missing"):
            race.failures[name] = version
            return
        try:
            weights = configuration if contestant.pruned else artifact_files.unpruned(configuration)
            files = artifact_files.prepare(weights, self._cache, contestant.graph, self._on_step)
            threads = contestant.threads or configuration.threads
            cores = cores_for(threads)
        except Exception as error:  # an exporter may fail in any way; others can still run
            race.failures[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            return
        command = worker_command(
            self._environments.pythons[contestant.environment], contestant, cores
        )
        log = self._out / "logs" / configuration.name / f"{name}.log"
        race.enter(
            name,
            lambda: WorkerProcess(command, worker_variables(threads, files.inductor), log),
            _job(configuration.model, files, threads, contestant.option),
            files.reference,
            available_mb(),
            contestant.precision,
        )


def _job(model: str, files: Artifacts, threads: int, option: str) -> Mapping[str, str | int]:
    return {
        "model": model,
        "weights": str(files.weights.absolute()),
        "onnx": str(files.onnx.absolute()),
        "input": str(files.input.absolute()),
        "calibration": str(files.calibration.absolute()),
        "threads": threads,
        "option": option,
    }
