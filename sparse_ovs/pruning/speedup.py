"""Finds the masks with which the engine runs an encoder so many times faster than dense torch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from sparse_ovs.compilation import PRECISIONS
from sparse_ovs.profiling.baselines import BASELINES, build_baselines
from sparse_ovs.profiling.int8_peers import build_int8_dense
from sparse_ovs.profiling.random_weights import calibrate_random_weights
from sparse_ovs.profiling.runtimes import HOW_TO_GET, INT8_DENSE, installed
from sparse_ovs.profiling.timing import Ratio, time_interleaved
from sparse_ovs.pruning.cost import mac_costs, ranking, time_costs
from sparse_ovs.pruning.criteria import kept_magnitude, magnitude_masks
from sparse_ovs.pruning.embedding import frozen_copy
from sparse_ovs.pruning.masks import apply
from sparse_ovs.quantization.compiled import compile_in
from sparse_ovs.threads import torch_threads

Run = Callable[[], object]
Weighing = Literal["plain", "macs", "time"]

# Of the asked speed-up that a mask may miss before another one is tried, and how many are tried.
_CLOSE, _MOST_TRIES = 0.03, 8
# How finely densities are searched, relative, and the least one that is.
_FINENESS, _LEAST_DENSITY = 1e-3, 1e-4


def check_speedup(speedup: float) -> None:
    """Raises ValueError for one that is not above 0."""
    if not speedup > 0:
        raise ValueError(f"expected a speed-up above 0, got {speedup}")


def check_contest(precision: str, against: str | None) -> None:
    """Raises ValueError for a precision or an opponent that there is none of (see
    SpeedupSearch)."""
    if precision not in PRECISIONS:
        raise ValueError(f"expected a precision of {', '.join(PRECISIONS)}, got {precision!r}")
    if against is None:
        return
    if against not in INT8_DENSE:
        raise ValueError(f"expected to be against {' or '.join(INT8_DENSE)}, got {against!r}")
    if against not in installed():
        raise ValueError(
            f"expected {INT8_DENSE[against].label} to be installed ({HOW_TO_GET}), got none"
        )


@dataclass(frozen=True)
class SpeedupResult:
    """Masks at a measured speed-up.

    Attributes:
        masks: bool by mask name.
        speedup: dense time over ours, from interleaved runs.
        dense_ms, sparse_ms: medians of these runs.
        baseline: the dense contestant: the fastest of those that were asked for, or `against`.
        kept_magnitude: share of the layers' summed magnitudes that the masks keep.
        macs: of one forward, what is not pruned included.
        tries: (density, measured speed-up) of all masks that were tried.
    """

    masks: dict[str, Tensor]
    speedup: Ratio
    dense_ms: float
    sparse_ms: float
    baseline: str
    kept_magnitude: float
    macs: float
    tries: list[tuple[float, float]]


class SpeedupSearch:
    """Prunes one encoder to asked speed-ups on this machine.

    Making it builds and times the dense baselines and the price of each layer's weights, which all
    searches share.

    Args:
        model: dense, in eval mode; not changed.
        example_input: (N, C, H, W) float32 on the CPU: the size and batch to be fast at.
        layers: module names of what is pruned.
        pattern: see `sparse_ovs.make_mask`; not n:m, whose density is no choice.
        threads: of torch and of the engine; None takes torch's setting.
        baselines: dense contestants; the fastest one counts.
        rounds: samples of each contestant.
        on_step: called with a line of text when a step begins.
        precision: that the engine computes in (see compile); int8's scales are those of the
            example, since only times count.
        against: a runtime for the dense encoder in int8, one of runtimes.INT8_DENSE, to be so many
            times faster than; None: the fastest baseline.

    Raises:
        ValueError: an argument out of its range, or a runtime that is not installed.
        RuntimeError: no dense baseline could be built, or the native library is missing.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Tensor,
        layers: Iterable[str],
        pattern: str = "unstructured",
        threads: int | None = None,
        baselines: Sequence[str] = BASELINES,
        rounds: int = 7,
        on_step: Callable[[str], None] = lambda text: None,
        precision: str = "fp32",
        against: str | None = None,
    ) -> None:
        check_contest(precision, against)
        layers = list(layers)
        self._example, self.pattern, self._threads = example_input, pattern, threads
        self.precision, self.against = precision, against
        self._rounds, self._on_step = rounds, on_step
        # What is timed are zeros, not values: those of random weights reach every output.
        self._model = frozen_copy(model)
        calibrate_random_weights(self._model, example_input)
        with torch_threads(threads):
            on_step("count MACs and time layers")
            self.macs = mac_costs(self._model, example_input, layers)
            self.times = time_costs(
                self._model,
                example_input,
                layers,
                pattern,
                threads,
                max(rounds, 5),
                precision=precision,
            )
            runs = self._baselines(baselines) if against is None else self._int8_dense(against)
            on_step("time dense baselines")
            timings = time_interleaved(runs, rounds)
            self.baseline = timings.fastest(list(runs))
            self._dense_ms = timings.median(self.baseline)
            self._dense = runs[self.baseline]

    def _baselines(self, names: Sequence[str]) -> Mapping[str, Run]:
        built = build_baselines(
            self._model, self._example, names, lambda name: self._on_step(f"build dense {name}")
        )
        return built.at_least_one()

    def _int8_dense(self, name: str) -> Mapping[str, Run]:
        threads, images = torch.get_num_threads(), [self._example]
        built = build_int8_dense(
            self._model,
            self._example,
            [name],
            images,
            threads,
            lambda label: self._on_step(f"build {label}"),
        )
        if not built.runs:
            raise RuntimeError(
                f"{INT8_DENSE[name].label} could not be built: {built.failures[name]}"
            )
        return built.runs

    def costs(self, weigh: Weighing) -> Mapping[str, float] | None:
        """What magnitudes are divided by to rank them (see cost.ranking); None for "plain".

        Raises:
            ValueError: another word than plain, macs or time.
        """
        if weigh not in ("plain", "macs", "time"):
            raise ValueError(f"expected to weigh by plain, macs or time, got {weigh!r}")
        if weigh == "plain":
            return None
        return ranking((self.macs if weigh == "macs" else self.times).per_weight)

    def likely_masks(
        self, weights: Mapping[str, Tensor], speedup: float, weigh: Weighing = "time"
    ) -> dict[str, Tensor]:
        """Masks of the largest magnitudes that should give a speed-up by the price list, without
        timing them. See masks_for."""
        densities = _Densities(self, weights, weigh, None)
        return densities.masks(self._fullest(densities, speedup, self._wanted(speedup)))

    def masks_for(
        self,
        weights: Mapping[str, Tensor],
        speedup: float,
        weigh: Weighing = "time",
        previous: Mapping[str, Tensor] | None = None,
    ) -> SpeedupResult:
        """Masks of the largest magnitudes with which one forward is so many times faster.

        The price list says which density should do. Its masks are compiled and timed in turn with
        the dense baseline; what came out corrects the list for the next try, until one is within
        3 % or eight were tried. The closest one counts.

        Args:
            weights: by mask name: the encoder's, which may have been trained since.
            speedup: over the dense baseline, above 0.
            weigh: "plain" ranks weights by magnitude alone; "macs" and "time" by squared magnitude
                over what a weight costs.
            previous: masks to prune further.

        Raises:
            ValueError: an argument out of its range, or a speed-up that pruning cannot reach.
        """
        densities = _Densities(self, weights, weigh, previous)
        wanted = self._wanted(speedup)
        results: list[SpeedupResult] = []
        tries: list[tuple[float, float]] = []
        seen: list[tuple[float, float]] = []
        for number in range(1, _MOST_TRIES + 1):
            density = self._fullest(densities, speedup, next_price(wanted, seen))
            self._on_step(f"time density {density:.4f} for {speedup:g}x, try {number}")
            result = self._measure(weights, densities.masks(density))
            results.append(result)
            tries.append((density, result.speedup.median))
            # By the ratio, which drifting clocks and busy neighbours change less than times.
            seen.append((densities.price(density), wanted * speedup / result.speedup.median))
            if _miss(result, speedup) <= _CLOSE:
                break
        best = min(results, key=lambda one: _miss(one, speedup))
        return replace(best, tries=tries)

    def _wanted(self, speedup: float) -> float:
        """Seconds of one forward at a speed-up."""
        check_speedup(speedup)
        return 1e-3 * self._dense_ms / speedup

    def _fullest(self, densities: _Densities, speedup: float, price: float) -> float:
        """The largest density of at most that listed price."""
        density = densities.fullest(price)
        if density == 0:
            most = speedup * price / self.times.fixed
            raise ValueError(
                f"expected a speed-up that pruning reaches, below {most:.3g} here, got {speedup:g}"
            )
        return density

    def _measure(self, weights: Mapping[str, Tensor], masks: dict[str, Tensor]) -> SpeedupResult:
        pruned = copy.deepcopy(self._model)
        apply(pruned, masks)
        with torch_threads(self._threads):
            fast = compile_in(self.precision, pruned, self._example, self._threads, [self._example])
            runs = {"dense": self._dense, "sparse": lambda: fast(self._example)}
            timings = time_interleaved(runs, self._rounds)
        return SpeedupResult(
            masks=masks,
            speedup=timings.ratio("dense", "sparse"),
            dense_ms=timings.median("dense"),
            sparse_ms=timings.median("sparse"),
            baseline=self.baseline,
            kept_magnitude=kept_magnitude(weights, masks),
            macs=self.macs.of(masks),
            tries=[],
        )


class _Densities:
    """Masks and their listed price by density; remembers the prices."""

    def __init__(
        self,
        search: SpeedupSearch,
        weights: Mapping[str, Tensor],
        weigh: Weighing,
        previous: Mapping[str, Tensor] | None,
    ) -> None:
        self._search, self._weights, self._previous = search, weights, previous
        self._costs = search.costs(weigh)
        kept = [mask.double().mean() * mask.numel() for mask in (previous or {}).values()]
        total = sum(weight.numel() for weight in weights.values())
        self._most = float(sum(kept)) / total if previous else 1.0
        self._prices: dict[float, float] = {}

    def masks(self, density: float) -> dict[str, Tensor]:
        pattern = self._search.pattern
        if self._previous is not None and density >= self._most:
            return dict(self._previous)
        return magnitude_masks(
            self._weights, pattern, density, costs=self._costs, previous=self._previous
        )

    def price(self, density: float) -> float:
        """In seconds."""
        if density not in self._prices:
            self._prices[density] = self._search.times.of(self.masks(density))
        return self._prices[density]

    def fullest(self, seconds: float) -> float:
        """The largest density, to a thousandth of it, that costs at most so much; 0 where the
        least one costs more."""
        if self.price(self._most) <= seconds:
            return self._most
        low = max((d for d, price in self._prices.items() if price <= seconds), default=0.0)
        high = min(d for d, price in self._prices.items() if price > seconds)
        while high - low > _FINENESS * high:
            middle = (low + high) / 2
            if middle < _LEAST_DENSITY:
                break
            if self.price(middle) <= seconds:
                low = middle
            else:
                high = middle
        return low


def next_price(wanted: float, seen: Sequence[tuple[float, float]]) -> float:
    """The listed price whose masks should take the wanted seconds.

    Args:
        seen: (listed price, measured seconds) of the masks so far.
    """
    if not seen:
        return wanted
    fast = max((pair for pair in seen if pair[1] <= wanted), default=None)
    slow = min((pair for pair in seen if pair[1] > wanted), default=None)
    if fast is not None and slow is not None and fast[0] < slow[0]:
        part = (wanted - fast[1]) / (slow[1] - fast[1])
        return fast[0] + min(max(part, 0.1), 0.9) * (slow[0] - fast[0])
    price, seconds = seen[-1]
    step = wanted / seconds
    if len(seen) > 1:
        # All too slow or all too fast: go on along the line through the last two.
        rise, run = seconds - seen[-2][1], price - seen[-2][0]
        if rise * run > 0:
            step = (price + (wanted - seconds) * run / rise) / price
    return price * min(max(step, 0.25), 4.0)


def _miss(result: SpeedupResult, speedup: float) -> float:
    return abs(result.speedup.median / speedup - 1)
