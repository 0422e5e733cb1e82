"""compress: from a dense encoder and images to a pruned, quantised one, without training."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from torch import nn

from sparse_ovs import _native
from sparse_ovs.backbones import Backbone
from sparse_ovs.compilation import compile
from sparse_ovs.compression.attempt import Attempt
from sparse_ovs.compression.compressed import Compressed
from sparse_ovs.compression.dense_encoder import DenseEncoder, Tell
from sparse_ovs.compression.images import Images, split_images
from sparse_ovs.compression.pictures import masks_side_by_side, side_by_side
from sparse_ovs.compression.planner import Plan, Planner
from sparse_ovs.compression.quality import Judge
from sparse_ovs.compression.record import LayerRecord, Report
from sparse_ovs.compression.settings import Allocation, CompressionSettings, Method, Precision
from sparse_ovs.compression.state import RunState, fingerprint, run_state
from sparse_ovs.compression.timing import Speed, Stopwatch
from sparse_ovs.profiling import BASELINES
from sparse_ovs.profiling.runtimes import installed
from sparse_ovs.quantization.batches import Batches

# Of the asked speed-up that the result may miss, and how often one is tried.
_CLOSE, _MOST_TRIES = 0.05, 3


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
    qat: bool = False,
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
        precision, pattern, method, exclude, allocation: see CompressionSettings.
        threads, baselines, minutes, lr, seed, qat: see CompressionSettings.
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
        qat,
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
        dense = DenseEncoder(module, images, settings[0].exclude, tell)
        run = _Run(dense, settings[0], state, Judge(dense.module, images.held_out, vocabulary))
        return [run.compressed(each, peers) for each in settings]


class _Run:
    """Compressions of one encoder that differ in how far they go."""

    def __init__(
        self, dense: DenseEncoder, settings: CompressionSettings, state: RunState, judge: Judge
    ) -> None:
        self._begun = monotonic()
        self._dense, self._state, self._judge = dense, state, judge
        images = dense.images
        self._stopwatch = Stopwatch(
            dense.module,
            dense.layers,
            images.example,
            settings,
            images.calibration,
            lambda text: dense.tell(text, 0, 0),
        )
        self._planner = Planner(dense, settings, self._stopwatch, state)

    def compressed(self, settings: CompressionSettings, peers: Sequence[str] | None) -> Compressed:
        """One compression, tried again while a speed-up misses what was asked for."""
        whole = self._state.part(f"{settings.budget}-{settings.amount:g}")
        if settings.budget != "target_speedup":
            price = self._planner.price(settings.amount)
            _, made, speed = self._try(settings, price, whole.part("try-1"), peers or ())
            return self._finished(settings, made, speed)
        runtimes = installed() if peers is None else peers
        price = self._planner.price(settings.amount)
        tries: list[tuple[float, float]] = []
        best: tuple[float, Attempt, Speed] | None = None  # the others need not be held
        for number in range(1, _MOST_TRIES + 1):
            plan, made, speed = self._try(settings, price, whole.part(f"try-{number}"), runtimes)
            miss = speed.speedup.median / settings.amount - 1
            if best is None or abs(miss) < best[0]:
                best = (abs(miss), made, speed)
            if abs(miss) <= _CLOSE or (plan.is_dense and miss > 0):
                break
            tries.append((plan.price, speed.speedup.median))
            price = self._planner.next_price(settings.amount, tries)
        assert best is not None
        return self._finished(settings, best[1], best[2])

    def _try(
        self, settings: CompressionSettings, price: float, state: RunState, peers: Sequence[str]
    ) -> tuple[Plan, Attempt, Speed]:
        """One compression at a listed price, and how fast it is."""
        plan = Plan(
            **state.json("plan", lambda: asdict(self._planner.plan(settings.amount, price)))
        )
        made = Attempt(self._dense, settings, plan.densities, state)

        def measure() -> dict[str, Any]:
            return asdict(self._stopwatch.speed(made.module, made.quantization, peers))

        return plan, made, Speed.of(state.json("speed", measure))

    def _finished(self, settings: CompressionSettings, made: Attempt, speed: Speed) -> Compressed:
        images = self._dense.images
        self._dense.tell("judge it on images held out", 0, 0)
        runs = compile(
            made.module,
            images.example,
            settings.threads,
            precision=settings.precision,
            quantization=made.quantization,
        )
        quality = self._judge.judge(runs, made.module)
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
            for each in self._dense.layers
        ]
        whole = sum(each.weight.numel() for each in self._dense.layers)
        macs = sum(each.macs for each in self._dense.layers)
        report = Report(
            model=_name_of(self._dense.module),
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
        shown = (images.held_out, self._dense.module, runs)
        masks: list[bytes] = []
        if self._judge.tells_classes():
            masks = masks_side_by_side(*shown, self._judge.labels, self._judge.words)
        return Compressed(
            made.module, made.masks, made.quantization, report, side_by_side(*shown), masks
        )


def _name_of(module: nn.Module) -> str:
    name = module.config.get("name") if isinstance(module, Backbone) else None
    return str(name or type(module).__name__)


def _notes(settings: CompressionSettings, speed: Speed) -> list[str]:
    if settings.budget != "target_speedup":
        return []
    miss = speed.speedup.median / settings.amount - 1
    if abs(miss) <= _CLOSE:
        return []
    return [f"the closest to {settings.amount:g}x that was found: {miss:+.0%}"]


def _peak_bytes() -> int:
    """The most memory that this process held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
