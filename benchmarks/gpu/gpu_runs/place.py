"""Where a step runs: a GPU, or in a rehearsal the CPU, up to the first launch of a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """What a step is told.

    Attributes:
        results: of the run so far.
        rehearsing: there is no GPU; a kernel that is launched raises `rehearsal.Launched`.
    """

    results: Path
    rehearsing: bool = False

    @property
    def device(self) -> str:
        """Name of the device for torch."""
        return "cpu" if self.rehearsing else "cuda"
