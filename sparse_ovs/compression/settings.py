"""What a compression is asked for: where it ends, in which numbers, and what stays dense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass
from typing import Any, Literal, get_args

from sparse_ovs.patterns import check_density, parse_pattern
from sparse_ovs.profiling import BASELINES

Method = Literal["obs", "magnitude"]
Allocation = Literal["loss", "global", "uniform"]
Precision = Literal["fp32", "int8"]
Budget = Literal["density", "budget_macs", "target_speedup"]


@dataclass(frozen=True)
class CompressionSettings:
    """Exactly one of `density`, `budget_macs` and `target_speedup` says where compression ends.

    Attributes:
        density: kept fraction of the weights of all layers that are pruned.
        budget_macs: kept fraction of their MACs, at the images' size.
        target_speedup: so many times faster than the fastest dense torch in fp32, at the images'
            size, one image at a time.
        precision: of the numbers that the encoder will compute with.
        pattern: see `sparse_ovs.make_mask`; n:m leaves some layers dense where the budget allows.
        method: "obs", second-order: what stays makes up for what goes; "magnitude", the control.
        allocation: "loss", densities by layer of the least summed loss, as the outputs feel it;
            "global", those of global magnitude, by what a weight costs; "uniform", one for all.
            None: of the first two what did better on trained weights: "loss" for a speed-up with
            obs (and for n:m), else "global".
        exclude: layers that stay dense, by name or pattern ("layer4.*").
        threads: that times are for; None takes torch's setting.
        baselines: dense contestants, some of BASELINES.
        minutes: of repair, label-free distillation of what is kept; 0 for none.
        lr: learning rate of repair.
        qat: whether repair learns with weights and maps rounded as int8 will.
        seed: of everything random.
        spell: how errors call a setting: commands say "--budget-macs".

    Raises:
        ValueError, TypeError: a setting out of its range, or not exactly one end.
    """

    density: float | None = None
    budget_macs: float | None = None
    target_speedup: float | None = None
    precision: Precision = "fp32"
    pattern: str = "unstructured"
    method: Method = "obs"
    allocation: Allocation | None = None
    exclude: Sequence[str] = ()
    threads: int | None = None
    baselines: Sequence[str] = BASELINES
    minutes: float = 0.0
    lr: float = 1e-4
    seed: int = 0
    qat: bool = False
    spell: InitVar[Callable[[str], str]] = str

    def __post_init__(self, spell: Callable[[str], str]) -> None:
        ends = get_args(Budget)
        given = [name for name in ends if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected one of {', '.join(map(spell, ends))}, got "
                f"{' and '.join(map(spell, given)) or 'none of them'}"
            )
        for name, choices in (
            ("precision", get_args(Precision)),
            ("method", get_args(Method)),
            ("allocation", (None, *get_args(Allocation))),
        ):
            if getattr(self, name) not in choices:
                known = ", ".join(filter(None, choices))
                raise ValueError(f"expected {name} of {known}, got {getattr(self, name)!r}")
        self._check_end(given[0])
        self._check_pattern()
        if not 0 <= self.minutes < float("inf"):
            raise ValueError(f"expected minutes of at least 0, got {self.minutes}")
        if self.qat and not (self.minutes and self.precision == "int8"):
            raise ValueError(
                f"expected {spell('minutes')} and {spell('precision')} int8 with {spell('qat')}, "
                f"got {self.minutes:g} and {self.precision}"
            )
        if not self.lr > 0:
            raise ValueError(f"expected lr > 0, got {self.lr}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"expected a thread count of at least 1, got {self.threads}")
        if isinstance(self.exclude, str):
            raise TypeError(f"expected a list of patterns to exclude, got {self.exclude!r}")

    def _check_end(self, end: str) -> None:
        if end == "target_speedup":
            if not 0 < self.amount < float("inf"):
                raise ValueError(f"expected a speed-up above 0, got {self.amount}")
            return
        try:
            check_density(self.amount)
        except ValueError:
            if end == "density":
                raise
            raise ValueError(
                f"expected a share of MACs with 0 < share <= 1, got {self.amount}"
            ) from None

    def _check_pattern(self) -> None:
        pattern = parse_pattern(self.pattern)
        many_columns = pattern.kind == "block" and pattern.second > 1
        if self.method == "obs" and (pattern.kind == "channel" or many_columns):
            raise ValueError(
                "expected a pattern of unstructured, blockRx1 or n:m with method 'obs', "
                f"got {self.pattern!r}"
            )
        if pattern.kind == "n:m" and self.allocation not in (None, "loss"):
            raise ValueError(
                f"expected allocation 'loss' with pattern {self.pattern!r}, whose layers are "
                f"pruned or dense, got {self.allocation!r}"
            )

    @property
    def budget(self) -> Budget:
        """Which of the three ends is given."""
        ends: tuple[Budget, ...] = get_args(Budget)
        return next(name for name in ends if getattr(self, name) is not None)

    @property
    def amount(self) -> float:
        """What is given for it."""
        amount: float = getattr(self, self.budget)
        return amount

    @property
    def chosen_allocation(self) -> Allocation:
        """The allocation that None stands for."""
        n_of_m = parse_pattern(self.pattern).kind == "n:m"
        timed = self.method == "obs" and self.budget == "target_speedup"
        return self.allocation or ("loss" if n_of_m or timed else "global")

    def describe(self) -> dict[str, Any]:
        """What decides the result, JSON-able."""
        return {
            self.budget: self.amount,
            "precision": self.precision,
            "pattern": self.pattern,
            "method": self.method,
            "allocation": self.chosen_allocation,
            "exclude": list(self.exclude),
            "threads": self.threads,
            "baselines": list(self.baselines),
            "minutes": self.minutes,
            "lr": self.lr,
            "seed": self.seed,
            "qat": self.qat,
        }
