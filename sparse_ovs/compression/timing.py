"""Times of an encoder: of its layers by density, and of the whole against dense torch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.compilation import compile
from sparse_ovs.compression.costs import Costs, rising
from sparse_ovs.compression.layers import Layer, zero_outside
from sparse_ovs.compression.settings import CompressionSettings
from sparse_ovs.engine import Quantization
from sparse_ovs.engine.export import export_graph
from sparse_ovs.engine.records import step_labels
from sparse_ovs.nn.plain import plain_copy
from sparse_ovs.patterns import make_mask, parse_pattern
from sparse_ovs.profiling.baselines import build_baselines
from sparse_ovs.profiling.int8_peers import build_int8_dense
from sparse_ovs.profiling.random_weights import calibrate_random_weights
from sparse_ovs.profiling.timing import Ratio, time_interleaved
from sparse_ovs.pruning.embedding import frozen_copy
from sparse_ovs.quantization.compiled import compile_in
from sparse_ovs.threads import torch_threads

_TIMED = (1.0, 0.5, 0.25, 0.12, 0.04)
_ROUNDS = 7
_INT8_IMAGES = 4  # that scales are taken from where only times count


@dataclass(frozen=True)
class Speed:
    """Times of one image, measured in turns.

    Attributes:
        ms: ours.
        dense_ms: of the fastest dense torch in fp32.
        baseline: which one that is.
        speedup: dense over ours.
        int8_dense: by runtime that runs the dense encoder in int8: its ms, and how many times
            faster ours is.
    """

    ms: float
    dense_ms: float
    baseline: str
    speedup: Ratio
    int8_dense: Mapping[str, tuple[float, Ratio]]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Speed:
        """From JSON of its dataclasses."""
        others = {name: (ms, Ratio(**ratio)) for name, (ms, ratio) in told["int8_dense"].items()}
        return cls(**{**told, "speedup": Ratio(**told["speedup"]), "int8_dense": others})


class Stopwatch:
    """Times one encoder on this machine.

    Args:
        module: dense, of plain torch modules; not changed.
        layers: of it.
        example: (1, C, H, W).
        settings: precision, pattern, threads and baselines.
        calibration: images that int8's scales are taken from.
        on_step: called with a line of text when a step begins.

    Raises:
        RuntimeError: the native library is missing, or at the first use no dense baseline could be
            built.
    """

    def __init__(
        self,
        module: nn.Module,
        layers: Sequence[Layer],
        example: Tensor,
        settings: CompressionSettings,
        calibration: Tensor,
        on_step: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._module = frozen_copy(module)
        if isinstance(module, Backbone):
            # What is timed are zeros, not values: those of random weights reach every output.
            calibrate_random_weights(self._module, example)
        self._layers, self._example, self._settings = layers, example, settings
        self._calibration, self._on_step = calibration[:_INT8_IMAGES], on_step
        self._runs: dict[str, Callable[[], object]] = {}

    def layer_costs(self) -> Costs:
        """Seconds of each layer by density, from plans in which all layers have one density."""
        parsed = parse_pattern(self._settings.pattern)
        by_density: dict[float, dict[str, float]] = {}
        rest: list[float] = []
        timed = (1.0, parsed.first / parsed.second) if parsed.kind == "n:m" else _TIMED
        for density in timed:
            self._on_step(f"time layers at density {density:g}")
            densities = {each.name: density for each in self._layers}
            seconds, total = self._seconds(self._pruned(densities))
            by_density[density] = seconds
            rest.append(total - sum(seconds.values()))
        lines = {
            each.name: rising([(d, found[each.name]) for d, found in by_density.items()])
            for each in self._layers
        }
        return Costs("seconds", lines, max(0.0, sum(rest) / len(rest)))

    def dense_seconds(self) -> float:
        """Of the fastest dense torch in fp32."""
        self._build()
        with torch_threads(self._settings.threads):
            timings = time_interleaved(self._runs, _ROUNDS)
        best = timings.fastest(list(self._runs))
        return 1e-3 * timings.median(best)

    def likely_speedup(self, densities: Mapping[str, float]) -> float:
        """Of masks of these densities by layer, whichever weights they keep."""
        self._on_step("time a plan of these densities")
        return self._against_dense(self._pruned(densities), None, {}).speedup.median

    def speed(
        self, module: nn.Module, quantization: Quantization | None, peers: Sequence[str] = ()
    ) -> Speed:
        """Of a compressed module.

        Args:
            quantization: of it, for int8.
            peers: runtimes for the dense encoder in int8, some of runtimes.INT8_DENSE; those that
                cannot be built are left out.
        """
        threads = self._settings.threads or torch.get_num_threads()
        built = build_int8_dense(
            self._module,
            self._example,
            peers,
            list(self._calibration.split(1)),
            threads,
            lambda name: self._on_step(f"build {name}"),
        )
        self._on_step("time the whole encoder")
        return self._against_dense(module, quantization, built.runs)

    def layer_ms(self, module: nn.Module, quantization: Quantization | None) -> dict[str, float]:
        """Milliseconds of each layer of a compressed module."""
        seconds, _ = self._seconds(module, quantization)
        return {name: 1e3 * spent for name, spent in seconds.items()}

    def _pruned(self, densities: Mapping[str, float]) -> nn.Module:
        module = copy.deepcopy(self._module)
        masks = {}
        for each in self._layers:
            density = densities[each.name]
            if density < 1:
                nm = parse_pattern(self._settings.pattern).kind == "n:m"
                how = None if nm else density
                masks[each.name] = make_mask(each.weight, self._settings.pattern, how)
        zero_outside(module, masks)
        return module

    def _compiled(self, module: nn.Module, quantization: Quantization | None) -> Any:
        settings = self._settings
        if quantization is None:
            images = self._calibration.split(1)
            return compile_in(settings.precision, module, self._example, settings.threads, images)
        return compile(
            module,
            self._example,
            settings.threads,
            precision=settings.precision,
            quantization=quantization,
        )

    def _seconds(
        self, module: nn.Module, quantization: Quantization | None = None
    ) -> tuple[dict[str, float], float]:
        """Of each layer, and of all steps together."""
        with torch_threads(self._settings.threads):
            plan = self._compiled(module, quantization).plan_for(self._example).measure(_ROUNDS)
        names = label_of_layers(module, self._layers, self._example)
        layers = {label: name for name, label in names.items()}
        found = {each.name: 0.0 for each in self._layers}
        total = 0.0
        for row in plan.rows():
            total += row.seconds or 0.0
            if row.name in layers and row.op != "copy":
                found[layers[row.name]] += row.seconds or 0.0
        return found, total

    def _build(self) -> None:
        if self._runs:
            return
        with torch_threads(self._settings.threads):
            built = build_baselines(
                self._module,
                self._example,
                self._settings.baselines,
                lambda name: self._on_step(f"build dense {name}"),
            )
        self._runs = dict(built.at_least_one())

    def _against_dense(
        self,
        module: nn.Module,
        quantization: Quantization | None,
        others: Mapping[str, Callable[[], object]],
    ) -> Speed:
        self._build()
        with torch_threads(self._settings.threads):
            fast = self._compiled(module, quantization)
            ours = {"sparse": lambda: fast(self._example)}
            timings = time_interleaved({**self._runs, **others, **ours}, _ROUNDS)
        best = timings.fastest(list(self._runs))
        return Speed(
            ms=timings.median("sparse"),
            dense_ms=timings.median(best),
            baseline=best,
            speedup=timings.ratio(best, "sparse"),
            int8_dense={
                name: (timings.median(name), timings.ratio(name, "sparse")) for name in others
            },
        )


def label_of_layers(module: nn.Module, layers: Sequence[Layer], example: Tensor) -> dict[str, str]:
    """What compiled encoders and quantizations call each layer."""
    graph, _ = export_graph(plain_copy(module), example)
    labels = step_labels(graph)
    return {each.name: labels[each.conv.name] for each in layers if each.conv.name in labels}
