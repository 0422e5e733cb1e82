"""The masks of each round of pruning, and where a run of rounds stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from sparse_ovs.patterns import parse_pattern
from sparse_ovs.pruning.criteria import density_of, magnitude_masks, unit_counts
from sparse_ovs.pruning.goals import Goal
from sparse_ovs.pruning.schedules import gradual, iterative, one_shot

Weights = Mapping[str, Tensor]
ScheduleName = Literal["imp", "oneshot", "gradual"]
SCHEDULES: tuple[ScheduleName, ...] = ("imp", "oneshot", "gradual")


@dataclass(frozen=True)
class RoundSettings:
    """In which rounds a goal is reached.

    Attributes:
        schedule: "imp", each round removes a tenth of what remains; "oneshot", one round;
            "gradual", the cubic schedule.
        rounds: of "gradual", which needs them, and of "imp" where the goal names no density.
        fraction: that a round of "imp" removes.
    """

    schedule: ScheduleName = "imp"
    rounds: int | None = None
    fraction: float = 0.1

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(
                f"expected a schedule of {', '.join(SCHEDULES)}, got {self.schedule!r}"
            )

    def counts(self, total: int, density: float | None) -> list[int]:
        """Units that remain after each round; see pruning.schedules.

        Raises:
            ValueError: neither or both of what ends "imp", a goal without a density, or "gradual"
                without rounds.
        """
        if self.schedule == "imp":
            return iterative(total, rounds=self.rounds, density=density, fraction=self.fraction)
        if density is None:
            raise ValueError(f"expected a density for schedule {self.schedule!r}, got None")
        if self.schedule == "oneshot":
            return one_shot(total, density)
        if self.rounds is None:
            raise ValueError("expected the rounds of schedule 'gradual', got None")
        return gradual(total, density, self.rounds)

    def __str__(self) -> str:
        rounds = "" if self.rounds is None else f", {self.rounds} rounds"
        names = {
            "imp": f"iterative, {self.fraction:g} a round{rounds}",
            "gradual": f"gradual cubic{rounds}",
            "oneshot": "one-shot",
        }
        return names[self.schedule]


class PruningRounds:
    """Chooses masks, round by round, each among what the one before keeps.

    Until the last round, as many units stay as the schedule says, by the goal's criterion; in the
    last one the goal decides. Its state is in `state_dict`, so that a resumed run goes on with the
    counts that it began with.

    Args:
        weights: by mask name, as pruning finds them: they set the number of rounds.
        pattern: see `sparse_ovs.make_mask`.
        goal: where to end.
        settings: in which rounds.

    Attributes:
        done: rounds that were pruned.
        density: kept fraction of the weights after them.

    Raises:
        ValueError: n:m in more than one round.
    """

    def __init__(self, weights: Weights, pattern: str, goal: Goal, settings: RoundSettings) -> None:
        self.done = 0
        self.density = 1.0
        self._pattern, self._goal = pattern, goal
        if parse_pattern(pattern).kind == "n:m":
            if settings.schedule != "oneshot":
                raise ValueError(f"expected schedule oneshot for pattern {pattern!r}")
            self._counts = [0]
        else:
            total = sum(unit_counts(weights, pattern).values())
            self._counts = settings.counts(total, goal.density(weights, pattern))

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def counts(self) -> Sequence[int]:
        """Units that the schedule leaves after each round."""
        return tuple(self._counts)

    def next_masks(self, weights: Weights, previous: dict[str, Tensor] | None) -> dict[str, Tensor]:
        """The next round's masks.

        Args:
            weights: as they are now.
            previous: the last round's masks; None before the first one.

        Raises:
            RuntimeError: all rounds are done.
        """
        if self.done == len(self._counts):
            raise RuntimeError(f"expected fewer than {len(self._counts)} rounds to be done")
        count = self._counts[self.done]
        if self.done == len(self._counts) - 1:
            masks = self._goal.masks(weights, self._pattern, count, previous)
        else:
            masks = magnitude_masks(
                weights, self._pattern, count=count, costs=self._goal.costs, previous=previous
            )
        self.done += 1
        self.density = density_of(masks)
        return masks

    def state_dict(self) -> dict[str, Any]:
        """The counts, how many rounds are done, and the density."""
        return {"done": self.done, "counts": self._counts, "density": self.density}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Puts a state back."""
        self.done, self._counts = state["done"], state["counts"]
        self.density = state["density"]
