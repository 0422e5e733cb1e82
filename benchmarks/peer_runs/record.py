"""What one configuration's measurement says, and its file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peer_runs.cases import Configuration
from sparse_ovs.formats import replace_file
from sparse_ovs.profiling.errors import MapErrors
from sparse_ovs.profiling.timing import Timings


@dataclass
class Measurement:
    """One configuration, measured.

    Attributes:
        contestants: who was asked.
        rounds, passes: samples of each, and timed passes behind a sample.
        code: fingerprint of sparse_ovs as it was measured.
        versions: by contestant.
        machine: CPU, kernels, cores, memory.
        date: of the measurement, ISO 8601.
        samples: ms by contestant, one a round; only of those that ran to the end and are right.
        errors: of the outputs against dense fp32 torch, by contestant that ran.
        failures: reason by contestant that failed or is wrong.
        memory: {"peak_mb", "resident_mb", "imported_mb"} by contestant (see workers/protocol.py).
        idle: share of a core that each used while it was not its turn.
        background: cores that other processes kept busy during the rounds.
        facts: what the workers told.
    """

    configuration: Configuration
    contestants: list[str]
    rounds: int
    passes: int
    code: str
    versions: dict[str, str]
    machine: dict[str, str]
    date: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, MapErrors] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    memory: dict[str, dict[str, float]] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)
    background: float = 0.0
    facts: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def timings(self) -> Timings:
        return Timings(self.samples)

    def answers(
        self,
        contestants: Sequence[str],
        rounds: int,
        code: str,
        versions: Mapping[str, str],
        machine: Mapping[str, str],
    ) -> bool:
        """Whether this is what measuring now would give: the same code, versions and machine, no
        fewer contestants and rounds."""
        return (
            set(contestants) <= set(self.contestants)
            and rounds <= self.rounds
            and code == self.code
            and all(self.versions.get(name) == versions[name] for name in contestants)
            and self.machine == dict(machine)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for json.dumps; medians beside the samples."""
        record = dataclasses.asdict(self)
        record["configuration"]["size"] = list(self.configuration.size)
        record["name"] = self.configuration.name
        record["median_ms"] = {name: self.timings.median(name) for name in self.samples}
        return record

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> Measurement:
        """The inverse of to_dict.

        Raises:
            KeyError, TypeError: a record of another version.
        """
        settings = dict(record["configuration"])
        settings["size"] = tuple(settings["size"])
        names = [f.name for f in dataclasses.fields(Measurement) if f.name != "configuration"]
        values = {name: record[name] for name in names}
        values["errors"] = {name: MapErrors(**each) for name, each in record["errors"].items()}
        return Measurement(Configuration(**settings), **values)


def write_atomically(path: Path, text: str) -> None:
    """The whole file or the old one, whenever the machine stops."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode())


class Store:
    """Finished measurements, one JSON file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, configuration: Configuration) -> Path:
        return self._folder / f"{configuration.name}.json"

    def save(self, measurement: Measurement) -> None:
        text = json.dumps(measurement.to_dict(), indent=1)
        write_atomically(self.path(measurement.configuration), text + "\n")

    def load(self, configuration: Configuration) -> Measurement | None:
        """None where there is none, or none that this version understands."""
        try:
            return Measurement.from_dict(json.loads(self.path(configuration).read_text()))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
