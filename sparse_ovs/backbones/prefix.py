"""What a trunk asks of that which runs its beginning in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Depth:
    """How far a beginning of a trunk reaches: the stem, whole stages, and blocks of the next."""

    stages: int
    blocks: int


@dataclass(frozen=True)
class PrefixReport:
    """How the trunk's beginning ran in the last forward with gradients.

    Attributes:
        pieces: what the prefix is made of: "stem", stages, and blocks of the stage that it ends in.
        ends_at: what keeps it from being longer; empty where the whole trunk is frozen.
        planned: it ran as a plan.
        reason: why it did not; empty where it did.
    """

    pieces: tuple[str, ...]
    ends_at: str
    planned: bool
    reason: str

    def __str__(self) -> str:
        pieces = ", ".join(self.pieces) or "nothing"
        end = f", up to {self.ends_at}" if self.ends_at else ""
        run = "as a plan" if self.planned else f"in torch ({self.reason})"
        return f"frozen from the image on: {pieces}{end}; runs {run}"


class Prefix(Protocol):
    """Runs a trunk's beginning in its place, as FrozenPrefix does."""

    def run(self, x: Tensor) -> tuple[Tensor, list[Tensor], Depth] | None:
        """The beginning's value, the trunk's maps inside it, and how far it reaches; None where the
        trunk has to run as it is.

        Args:
            x: the image, (N, 3, H, W).
        """

    def report(self) -> PrefixReport:
        """How the trunk ran last."""

    def forget(self) -> None:
        """Drops what was made of the trunk's weights, which moved."""
