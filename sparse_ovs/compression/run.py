"""compress: from a dense encoder and images to a pruned, quantised one, without training."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs import _native
from sparse_ovs.backbones import Backbone
from sparse_ovs.compilation import compile
from sparse_ovs.compression.allocation import (
    DENSITIES,
    BudgetTooSmall,
    Curves,
    Densities,
    global_magnitude,
    least_loss,
    uniform,
)
from sparse_ovs.compression.compressed import Compressed
from sparse_ovs.compression.costs import Costs, mac_costs, weight_costs
from sparse_ovs.compression.images import Images, split_images
from sparse_ovs.compression.layers import Layer, find_layers, trace
from sparse_ovs.compression.one_layer import (
    CompressedLayer,
    compress_layer,
    loss_by_density,
    round_layer,
)
from sparse_ovs.compression.pictures import side_by_side
from sparse_ovs.compression.quality import Judge
from sparse_ovs.compression.record import LayerRecord, Report
from sparse_ovs.compression.repair import Repaired, repair
from sparse_ovs.compression.settings import (
    Allocation,
    CompressionSettings,
    Method,
    Precision,
)
from sparse_ovs.compression.state import RunState, fingerprint, run_state
from sparse_ovs.compression.timing import Speed, Stopwatch, label_of_layers
from sparse_ovs.compression.walk import Inputs, walk
from sparse_ovs.engine import Quantization
from sparse_ovs.nn.plain import plain_copy
from sparse_ovs.patterns import parse_pattern
from sparse_ovs.profiling import BASELINES
from sparse_ovs.profiling.runtimes import installed
from sparse_ovs.quantization import quantize
from sparse_ovs.quantization.batches import Batches

# What is done, steps done of it, and all of its steps (0 where nobody knows).
Tell = Callable[[str, int, int], None]

# Of the asked speed-up that likely masks may miss, and that the result may; how many are tried.
_LIKELY, _CLOSE = 0.03, 0.05
_MOST_LIKELY, _MOST_TRIES = 6, 3
_REPAIR = "#repair"  # beside the weights of a repaired module


def compress(
    module: nn.Module,
    images: Batches,
    *,
    density: float | None = None,
    budget_macs: float | None = None,
    target_speedup: float | None = None,
    precision: Precision = "fp32",
    pattern: str = "unstructured",
    method: Method = "obs",
    exclude: Sequence[str] = (),
    folder: str | os.PathLike[str] | None = None,
    allocation: Allocation | None = None,
    threads: int | None = None,
    baselines: Sequence[str] = BASELINES,
    minutes: float = 0.0,
    lr: float = 1e-4,
    seed: int = 0,
    vocabulary: str | Sequence[str] | None = None,
    peers: Sequence[str] | None = None,
    tell: Tell = lambda doing, done, of: None,
) -> Compressed:
    """Prunes an encoder layer by layer on a few unlabelled images, and in int8 quantises it.

    Each layer's weights that stay are set so that its outputs stay those of the dense encoder, from
    the inputs that the compressed layers before it give: errors are corrected, not piled up.
    Nothing is trained unless `minutes` asks for it, and the module is not changed.

    Args:
        module: what compile takes: of one tensor. A backbone's scope is compressed, of other
            modules what sparsify would swap.
        images: see `sparse_ovs.quantize`: float32 (N, C, H, W) of one size, a DataLoader of them,
            or a folder of images, of which those that cannot be read are left out. A hundred or
            so; a tenth is held out to judge the result by.
        density, budget_macs, target_speedup: exactly one of them, see CompressionSettings.
        precision, pattern, method, exclude, allocation, threads, baselines, minutes, lr, seed: see
            CompressionSettings.
        folder: where each layer's result is kept, so that a killed run goes on to the same bits
            when it is called again with the same arguments; None keeps nothing.
        vocabulary: classes in words ("cat; dog"), for a CLIP: the report tells how often the
            dense and the compressed encoder agree on them.
        peers: runtimes that run the dense encoder in int8 beside ours; None takes those that are
            installed with a target_speedup, else none.
        tell: called with what is done, steps done of it and all of its steps.

    Raises:
        ValueError, TypeError: an argument out of its range, no images, nothing to compress, a
            budget that cannot be reached, or a folder of another run.
        PlaceInUse: another run works in the folder.
        RuntimeError: the native library or dense torch cannot be used here.
        Exception: what torch.export itself raises for a module.
    """
    settings = CompressionSettings(
        density,
        budget_macs,
        target_speedup,
        precision,
        pattern,
        method,
        allocation,
        exclude,
        threads,
        baselines,
        minutes,
        lr,
        seed,
    )
    (made,) = compress_all(
        module, split_images(images, module), [settings], folder, vocabulary, peers, tell
    )
    return made


def compress_all(
    module: nn.Module,
    images: Images,
    settings: Sequence[CompressionSettings],
    folder: str | os.PathLike[str] | None = None,
    vocabulary: str | Sequence[str] | None = None,
    peers: Sequence[str] | None = None,
    tell: Tell = lambda doing, done, of: None,
) -> list[Compressed]:
    """One compression for each settings, which differ in nothing but how far they go: losses and
    times of layers are measured once. See compress."""
    if reason := _native.unavailable_reason():
        raise RuntimeError(reason)
    about = {
        "settings": [each.describe() for each in settings],
        **fingerprint(module, images),
    }
    with run_state(None if folder is None else Path(folder), about) as state:
        run = _Run(module, images, settings[0], state, tell)
        judge = Judge(run.dense, images.held_out, vocabulary)
        return [run.compressed(each, judge, peers) for each in settings]


class _Run:
    """Compressions of one encoder.

    Attributes:
        dense: a copy of the module.
    """

    def __init__(
        self,
        module: nn.Module,
        images: Images,
        settings: CompressionSettings,
        state: RunState,
        tell: Tell,
    ) -> None:
        self._begun = monotonic()
        self._images, self._state, self._tell = images, state, tell
        self._settings = settings
        self._batches = images.batches()
        self.dense = plain_copy(module)
        tell("trace the encoder", 0, 0)
        self._graph = trace(self.dense, self._batches[0])
        self._layers = find_layers(self.dense, self._graph, self._batches[0], settings.exclude)
        self._stopwatch = Stopwatch(
            self.dense,
            self._layers,
            images.example,
            settings,
            images.calibration,
            lambda text: tell(text, 0, 0),
        )
        self._found_costs: Costs | None = None
        self._found_curves: Curves | None = None
        self._dense_seconds = 0.0

    def compressed(
        self, settings: CompressionSettings, judge: Judge, peers: Sequence[str] | None
    ) -> Compressed:
        """One compression, tried again while a speed-up misses what was asked for."""
        self._settings = settings
        costs, budget = self._costs_and_budget()
        fast = settings.budget == "target_speedup"
        runtimes = installed() if peers is None and fast else peers or ()
        whole = self._state.part(f"{settings.budget}-{settings.amount:g}")
        tries: list[tuple[float, _Attempt, Speed]] = []
        for number in range(1, (_MOST_TRIES if fast else 1) + 1):
            state = whole.part(f"try-{number}")
            plan = state.json("plan", lambda price=budget: self._plan(costs, price))
            made = _Attempt(self, settings, state, plan["densities"])
            told = state.json(
                "speed", lambda: asdict(self._stopwatch.speed(made.module, made.quantization, runtimes))
            )
            speed = Speed.of(told)
            miss = speed.speedup.median / settings.amount - 1 if fast else 0.0
            tries.append((abs(miss), made, speed))
            if abs(miss) <= _CLOSE:
                break
            budget = plan["price"] * (1 + miss)
        _, best, speed = min(tries, key=lambda one: one[0])
        return self._finished(best, speed, judge)

    def attempt_layers(
        self, module: nn.Module, visit: Callable[[int, Layer, Layer, Inputs], bool], doing: str
    ) -> None:
        """Visits the layers of a copy of the module beside the dense ones.

        Args:
            visit: called with a layer's number, the dense layer, the copy's, and their inputs;
                whether the copy differs from now on.
        """
        graph = trace(module, self._batches[0])
        layers = find_layers(module, graph, self._batches[0], self._settings.exclude)
        pairs = {
            own.name: (number, dense, own)
            for number, (dense, own) in enumerate(zip(self._layers, layers, strict=True))
        }

        def on_layer(name: str, inputs: Inputs) -> bool:
            number, dense, own = pairs[name]
            self._tell(f"{doing} {name}", number, len(pairs))
            return visit(number, dense, own, inputs)

        names = {each.conv.name: each.name for each in layers}
        walk(self._graph, graph, self._batches, names, on_layer)

    def _costs_and_budget(self) -> tuple[Costs, float]:
        settings = self._settings
        if settings.budget == "density":
            costs = weight_costs(self._layers)
        elif settings.budget == "budget_macs":
            costs = mac_costs(self._layers)
        else:
            return self._times(), self._dense_seconds / settings.amount
        return costs, settings.amount * costs.dense

    def _times(self) -> Costs:
        if self._found_costs is None:
            told = self._state.json("times", self._measured)
            self._found_costs = Costs("seconds", told["lines"], told["fixed"])
            self._dense_seconds = told["dense"]
        return self._found_costs

    def _measured(self) -> dict[str, Any]:
        costs = self._stopwatch.layer_costs()
        dense = self._stopwatch.dense_seconds()
        return {"lines": dict(costs.lines), "fixed": costs.fixed, "dense": dense}

    def _plan(self, costs: Costs, budget: float) -> dict[str, Any]:
        """Densities by layer, and the listed price that they were chosen for: for a speed-up that
        whose masks, of whichever weights, have it when they are timed."""
        settings = self._settings
        if settings.budget != "target_speedup":
            return {"densities": self._densities(costs, budget), "price": budget}
        tries: list[tuple[float, float, Densities]] = []
        for _ in range(_MOST_LIKELY):
            try:
                densities = self._densities(costs, budget)
            except BudgetTooSmall as error:
                if tries:
                    break
                most = self._dense_seconds / error.least
                raise ValueError(
                    f"expected a speed-up that pruning reaches, below {most:.3g} here, got "
                    f"{settings.amount:g}"
                ) from None
            miss = self._stopwatch.likely_speedup(densities) / settings.amount - 1
            tries.append((abs(miss), budget, densities))
            if abs(miss) <= _LIKELY:
                break
            budget *= 1 + miss
        _, price, densities = min(tries, key=lambda one: one[0])
        return {"densities": densities, "price": price}

    def _densities(self, costs: Costs, budget: float) -> Densities:
        settings = self._settings
        if settings.chosen_allocation == "uniform":
            return uniform(self._layers, costs, budget)
        if settings.chosen_allocation == "global":
            return global_magnitude(self._layers, settings.pattern, costs, budget)
        free = parse_pattern(settings.pattern).kind != "n:m"
        try:
            return least_loss(self._curves(), costs, budget, free)
        except BudgetTooSmall as error:
            if settings.budget == "target_speedup":
                raise
            raise ValueError(
                f"expected a {settings.budget} of at least {error.least / costs.dense:.3g} for "
                f"pattern {settings.pattern!r}, got {settings.amount:g}"
            ) from None

    def _curves(self) -> Curves:
        if self._found_curves is None:
            self._found_curves = self._state.json("losses", self._losses)
        return self._found_curves

    def _losses(self) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
        parsed = parse_pattern(self._settings.pattern)
        some = (1.0, parsed.first / parsed.second) if parsed.kind == "n:m" else DENSITIES
        found: dict[str, tuple[Sequence[float], Sequence[float]]] = {}
        layers = {each.name: each for each in self._layers}

        def visit(name: str, inputs: Inputs) -> bool:
            self._tell(f"losses of {name}", len(found), len(layers))
            losses = loss_by_density(layers[name], inputs, some, self._settings)
            found[name] = (some, losses)
            return False

        names = {each.conv.name: each.name for each in self._layers}
        walk(self._graph, self._graph, self._batches, names, visit)
        return {name: found[name] for name in layers}

    def _finished(self, made: _Attempt, speed: Speed, judge: Judge) -> Compressed:
        settings, images = made.settings, self._images
        self._tell("judge it on images held out", 0, 0)
        runs = compile(
            made.module,
            images.example,
            settings.threads,
            precision=settings.precision,
            quantization=made.quantization,
        )
        quality = judge.judge(runs)
        ms = self._stopwatch.layer_ms(made.module, made.quantization)
        layers = [
            LayerRecord(
                each.name,
                tuple(each.weight.shape),
                int(made.masks[each.name].sum()) / each.weight.numel(),
                each.macs,
                made.errors[each.name],
                ms[each.name],
            )
            for each in self._layers
        ]
        whole = sum(each.weight.numel() for each in self._layers)
        macs = sum(each.macs for each in self._layers)
        report = Report(
            model=_name_of(self.dense),
            settings=settings.describe(),
            input_shape=tuple(images.example.shape),
            layers=layers,
            density=sum(int(mask.sum()) for mask in made.masks.values()) / whole,
            macs_share=sum(each.density * each.macs for each in layers) / macs,
            images=len(images.calibration),
            skipped=images.skipped,
            quality=quality,
            speed=speed,
            repaired=made.repaired,
            seconds=monotonic() - self._begun,
            peak_bytes=_peak_bytes(),
            notes=_notes(settings, speed),
        )
        pictures = side_by_side(images.held_out, self.dense, runs)
        return Compressed(made.module, made.masks, made.quantization, report, pictures)

    def quantization(self, module: nn.Module, scales: Mapping[str, Tensor]) -> Quantization:
        """Of a compressed module.

        Args:
            scales: of weights that are on their grids already, by layer.
        """
        self._tell("observe maps for int8", 0, 0)
        found = quantize(module, self._batches)
        labels = label_of_layers(module, self._layers, self._images.example)
        own = {labels[name]: each for name, each in scales.items() if name in labels}
        return replace(found, weight_scales={**found.weight_scales, **own})

    def repaired(
        self, module: nn.Module, masks: Mapping[str, Tensor], settings: CompressionSettings
    ) -> Repaired:
        """Trains a pruned module in place."""
        until = monotonic() + 60 * settings.minutes

        def show(step: int, loss: float) -> None:
            left = max(0.0, until - monotonic())
            text = f"repair, held-out loss {loss:.4f}, at most {left / 60:.1f} min left"
            self._tell(text, step, 0)

        return repair(
            self.dense,
            module,
            masks,
            settings.pattern,
            self._images,
            settings.minutes,
            settings.lr,
            settings.seed,
            show,
        )


class _Attempt:
    """A module that is compressed to densities by layer.

    Attributes:
        module, masks, quantization: see Compressed.
        errors: of layers, see CompressedLayer.
        repaired: None without repair.
    """

    def __init__(
        self, run: _Run, settings: CompressionSettings, state: RunState, densities: Densities
    ) -> None:
        self.settings = settings
        self.module = plain_copy(run.dense)
        self.masks: dict[str, Tensor] = {}
        self.errors: dict[str, float] = {}
        self.repaired: Repaired | None = None
        self.quantization: Quantization | None = None
        self._scales: dict[str, Tensor] = {}
        feedback = settings.precision == "int8" and settings.method == "obs"

        def prune(number: int, dense: Layer, own: Layer, inputs: Inputs) -> bool:
            rounds = feedback and not settings.minutes
            density = densities[own.name]
            tensors = state.tensors(
                f"layer-{number:03d}",
                lambda: compress_layer(dense, own, inputs, density, settings, rounds).tensors(),
            )
            return self._take(own, CompressedLayer.of(tensors))

        run.attempt_layers(self.module, prune, "compress")
        if settings.minutes:
            self._repair(run, state)
        if feedback and settings.minutes:

            def round_it(number: int, dense: Layer, own: Layer, inputs: Inputs) -> bool:
                mask = self.masks[own.name]
                tensors = state.tensors(
                    f"rounded-{number:03d}",
                    lambda: round_layer(dense, own, mask, inputs, settings.seed).tensors(),
                )
                self._take(own, CompressedLayer.of(tensors))
                return True

            run.attempt_layers(self.module, round_it, "round")
        if settings.precision == "int8":
            self.quantization = run.quantization(self.module, self._scales)

    def _take(self, layer: Layer, made: CompressedLayer) -> bool:
        """Writes a layer; whether that changed it."""
        before = layer.weight.clone()
        made.write(layer)
        self.masks[layer.name], self.errors[layer.name] = made.mask, made.error
        if made.scales is not None:
            self._scales[layer.name] = made.scales
        return made.shift is not None or not torch.equal(before, layer.weight)

    def _repair(self, run: _Run, state: RunState) -> None:
        def make() -> dict[str, Tensor]:
            how = run.repaired(self.module, self.masks, self.settings)
            return {**self.module.state_dict(), _REPAIR: how.numbers()}

        tensors = dict(state.tensors("repaired", make))
        self.repaired = Repaired.of(tensors.pop(_REPAIR))
        self.module.load_state_dict(tensors)


def _name_of(module: nn.Module) -> str:
    name = module.config.get("name") if isinstance(module, Backbone) else None
    return str(name or type(module).__name__)


def _notes(settings: CompressionSettings, speed: Speed) -> list[str]:
    if settings.budget != "target_speedup":
        return []
    miss = speed.speedup.median / settings.amount - 1
    if abs(miss) <= _CLOSE:
        return []
    return [f"the closest to {settings.amount:g}x that was found, {miss:+.0%}"]


def _peak_bytes() -> int:
    """The most memory that this process held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
