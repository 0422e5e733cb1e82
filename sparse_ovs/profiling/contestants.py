"""Our side of a profile: an encoder's swapped modules, or the plan of the whole encoder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_ovs.compilation import compile
from sparse_ovs.engine import Quantization
from sparse_ovs.engine.describe import StepRow
from sparse_ovs.nn import SparsifyReport, sparsify
from sparse_ovs.profiling.devices import clock_of
from sparse_ovs.profiling.layer_times import time_layers
from sparse_ovs.profiling.pair import EncoderPair

# Passes behind each layer's time.
LAYER_ROUNDS = 3


@dataclass(frozen=True)
class Contestant:
    """What is timed against dense torch.

    Attributes:
        run: one forward.
        time_layers: milliseconds by module name, and of everything together.
        report: what runs each layer.
    """

    run: Callable[[], Sequence[Tensor]]
    time_layers: Callable[[], tuple[dict[str, float], float]]
    report: SparsifyReport


def swapped_modules(pair: EncoderPair, x: Tensor) -> Contestant:
    """The pair's sparse modules, BatchNorm folded; those that are faster dense become so."""
    report = sparsify(pair.sparse, pair.pattern, None, fold_bn="eval", example_input=x)

    def run() -> Sequence[Tensor]:
        with torch.no_grad():
            return pair.sparse(x)

    return Contestant(
        run, lambda: time_layers(pair.sparse, x, LAYER_ROUNDS, clock_of(x.device)), report
    )


def whole_plan(
    pair: EncoderPair,
    x: Tensor,
    quantization: Quantization | None = None,
    bf16: bool = False,
) -> Contestant:
    """The pair's sparse encoder, compiled: in int8 with a quantization of it, or in bf16."""
    precision = precision_of(quantization, bf16)
    compiled = compile(pair.sparse, x, precision=precision, quantization=quantization)
    plan = compiled.plan_for(x)
    report = sparsify(pair.sparse, pair.pattern, None)
    steps = {layer_of(row): row for row in plan.rows() if row.op != "copy"}
    for layer in report.layers:
        layer.backend, layer.reason = _backend(steps.get(layer.name))
    modules = {name for name, _ in pair.sparse.named_modules()}

    def times() -> tuple[dict[str, float], float]:
        by_layer: dict[str, float] = defaultdict(float)
        total = 0.0
        for row in plan.measure(LAYER_ROUNDS).rows():
            total += 1e3 * (row.seconds or 0.0)
            if layer_of(row) in modules:
                by_layer[layer_of(row)] += 1e3 * (row.seconds or 0.0)
        return dict(by_layer), total

    return Contestant(lambda: compiled(x), times, report)


def precision_of(quantization: Quantization | None, bf16: bool) -> str:
    """What a plan with these computes in."""
    return "int8" if quantization is not None else "bf16" if bf16 else "fp32"


def layer_of(row: StepRow) -> str:
    """The layer that a step belongs to: steps of one layer are numbered."""
    return row.name.partition("#")[0]


def _backend(step: StepRow | None) -> tuple[str, str]:
    """What runs a layer, and why no sparse kernel, or none of its precision, does."""
    if step is None:
        return "dense", "not a step of its own"
    if step.backend == "torch":
        return "torch", "the engine has no step for it"
    if step.reason or step.backend.startswith(("sparse", "int8", "bf16")):
        return step.backend, step.reason
    return step.backend, "no zeros"
