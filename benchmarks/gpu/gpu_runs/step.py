"""A step of the run as data: its items in order of value, and what they are thought to take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Assumptions of a machine with a GPU of this decade, none of them measured on one: Python, torch
# and a CUDA context; a Triton kernel for one set of types and sizes; a CUDA kernel by NVRTC.
START_S, TRITON_S, NVRTC_S = 10.0, 2.0, 1.0
# What a kernel may take, as a multiple of the dense layer's bound, before a plan is wrong.
SLACK = 10.0


@dataclass(frozen=True)
class Step:
    """One kind of question.

    Attributes:
        name: a word.
        module: in `gpu_runs.steps`; its `run(item, place)` yields rows.
        asks: what it tells, in a line.
        items: their names and estimated seconds, the most valuable first.
        share: of the whole run's time; what a step leaves over is the next one's.
    """

    name: str
    module: str
    asks: str
    items: Mapping[str, float]
    share: float

    @property
    def estimate_s(self) -> float:
        """Seconds of all items in one process."""
        return START_S + sum(self.items.values())

    @property
    def least_s(self) -> float:
        """Seconds that the first item needs."""
        return START_S + next(iter(self.items.values()))
