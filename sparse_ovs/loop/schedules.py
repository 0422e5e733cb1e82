"""Learning rates over time, as pure functions of the step: nothing to save, nothing to restore."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule(ABC):
    """Factor on every parameter group's learning rate.

    Attributes:
        warmup: steps over which the factor first rises linearly, from 1 / warmup to 1.
    """

    warmup: int = 0

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise ValueError(f"expected warmup >= 0, got {self.warmup}")

    def factor(self, step: int) -> float:
        """The factor of step 0, 1, ...; optimiser steps, not batches."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return self._after_warmup(step)

    @abstractmethod
    def _after_warmup(self, step: int) -> float:
        """The factor of a step >= warmup."""


@dataclass(frozen=True)
class Constant(Schedule):
    """Factor 1."""

    def _after_warmup(self, step: int) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class _Falling(Schedule):
    """Falls from 1 after the warm-up to its end at `steps`, where it stays."""

    steps: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps <= self.warmup:
            raise ValueError(f"expected steps > warmup ({self.warmup}), got {self.steps}")

    def _progress(self, step: int) -> float:
        return min(1.0, (step - self.warmup) / (self.steps - self.warmup))


@dataclass(frozen=True, kw_only=True)
class Cosine(_Falling):
    """Half a cosine from 1 to `final` (Loshchilov & Hutter, arXiv 1608.03983, without restarts)."""

    final: float = 0.0

    def _after_warmup(self, step: int) -> float:
        half = 0.5 * (1.0 + math.cos(math.pi * self._progress(step)))
        return self.final + (1.0 - self.final) * half


@dataclass(frozen=True, kw_only=True)
class Poly(_Falling):
    """(1 - progress)^power, segmentation's usual schedule."""

    power: float = 0.9

    def _after_warmup(self, step: int) -> float:
        return (1.0 - self._progress(step)) ** self.power


@dataclass(frozen=True, kw_only=True)
class MultiStep(Schedule):
    """`gamma` to the power of the milestones passed; step m is the first after milestone m.

    Milestones count from step 0, warm-up included.
    """

    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"expected rising milestones, got {self.milestones}")

    def _after_warmup(self, step: int) -> float:
        return self.gamma ** sum(step >= milestone for milestone in self.milestones)
