"""Layers of RN50 by every route, against what dense torch offers, as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gpu.encoder_layers import Layer
from gpu_runs.place import Place
from gpu_runs.plan import CALLS, DENSITY, PATTERNS, ROUNDS, WAYS, layer_item, layers_by_value
from gpu_runs.steps.checks import ALLOWED, without_cudnn
from sparse_ovs.conv_size import Geometry
from sparse_ovs.formats import fit_mask
from sparse_ovs.ops import BLOCKS
from sparse_ovs.ops.cuda.choose import Choice, choices
from sparse_ovs.ops.cuda.request import ConvRequest, conv_arithmetic
from sparse_ovs.patterns import make_mask
from sparse_ovs.profiling.bench.arithmetic import DTYPES, multiplying_as
from sparse_ovs.profiling.bench.contest import Maps, contest
from sparse_ovs.profiling.bench.runner import density_of
from sparse_ovs.profiling.bench.stopwatch import Stopwatch

Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Pruned:
    """A layer with a mask, and what reaches it: all of one dtype, channels_last."""

    layer: Layer
    pattern: str
    weight: Tensor
    mask: Tensor
    x: Tensor

    def dense(self) -> Tensor:
        """cuDNN's convolution."""
        return F.conv2d(self.x, self.weight, padding=self.layer.padding)

    def product(self) -> Tensor:
        """A 1x1 convolution as cuBLAS has it: a product over the pixels."""
        return F.linear(self.x.permute(0, 2, 3, 1), self.weight[:, :, 0, 0])

    def ours(self, choice: Choice) -> Maps:
        """A call that runs the layer by a choice; it has run once."""
        arithmetic = conv_arithmetic(self.x.dtype)
        geometry = Geometry((1, 1), self.layer.padding, (1, 1))
        asked = ConvRequest(self.x, None, geometry, False, arithmetic)
        packed = choice.route.pack(self.weight, self.mask, choice.variant, arithmetic, None)

        def call() -> list[Tensor]:
            y = choice.route.conv2d(asked, packed, None, choice.variant)
            return [y.contiguous(memory_format=torch.channels_last)]

        call()
        return call

    @cached_property
    def exact(self) -> Tensor:
        """In double precision."""
        with without_cudnn():
            return F.conv2d(self.x.double(), self.weight.double(), padding=self.layer.padding)


def run(item: str, place: Place) -> Rows:
    """Rows of one layer and batch, in float16."""
    for layer in layers_by_value():
        for batch in (1, 8):
            if layer_item(layer, batch) == item:
                yield from time_layer(layer, batch, "float16", PATTERNS, place)


def time_layer(
    layer: Layer, batch: int, arithmetic: str, patterns: Sequence[str], place: Place
) -> Rows:
    """A row of kind `layer` for each way to run it with masks of these patterns."""
    torch.backends.cudnn.benchmark = True  # dense torch at its best
    stopwatch = Stopwatch(torch.device(place.device), CALLS)
    with multiplying_as(arithmetic) as dtype, torch.no_grad():
        for pattern in patterns:
            case = prune(layer, batch, pattern, dtype, place.device)
            fit = fit_mask(case.mask, BLOCKS)
            for choice in choices(fit, conv_arithmetic(dtype)):
                if (choice.route.name, choice.variant) in WAYS[pattern]:
                    yield _row(case, choice, arithmetic, stopwatch)


def prepare(spec: dict[str, Any], device: str) -> Maps:
    """The call of one row that was made before, from what `picked.SPEC` names."""
    (layer,) = (found for found in layers_by_value() if found.name == spec["layer"])
    dtype, pattern = DTYPES[spec["arithmetic"]], spec["pattern"]
    case = prune(layer, spec["batch"], pattern, dtype, device)
    for choice in choices(fit_mask(case.mask, BLOCKS), conv_arithmetic(dtype)):
        if (choice.route.name, list(choice.variant)) == (spec["route"], spec["variant"]):
            return case.ours(choice)
    raise ValueError(f"expected a way that runs the layer, got {spec}")


def prune(layer: Layer, batch: int, pattern: str, dtype: torch.dtype, device: str) -> Pruned:
    """Random weights, pruned, and a random map."""
    torch.manual_seed(0)
    weight = torch.randn(layer.shape, device=device)
    mask = make_mask(weight, pattern, density_of(pattern, DENSITY))
    weight = (weight * mask).to(dtype, memory_format=torch.channels_last)
    x = torch.randn(batch, layer.channels, layer.size, layer.size, device=device)
    return Pruned(layer, pattern, weight, mask, x.to(dtype, memory_format=torch.channels_last))


def _row(case: Pruned, choice: Choice, arithmetic: str, stopwatch: Stopwatch) -> dict[str, Any]:
    layer, allowed = case.layer, ALLOWED[arithmetic]
    dense: dict[str, Callable[[], Maps]] = {"cuDNN": lambda: lambda: [case.dense()]}
    if layer.kernel == 1:
        dense["cuBLAS"] = lambda: lambda: [case.product()]
    # Before the others: a launch that fails shall not look like their fault.
    build = _built(lambda: case.ours(choice))
    outcome = contest(dense, build, lambda: [case.exact], stopwatch, ROUNDS)
    return {
        "kind": "layer",
        "layer": layer.name,
        "count": layer.count,
        "batch": case.x.shape[0],
        "shape": list(layer.shape),
        "size": layer.size,
        "pattern": case.pattern,
        "density": float(case.mask.double().mean()),
        "arithmetic": arithmetic,
        "route": choice.route.name,
        "variant": list(choice.variant),
        "dense_ms": outcome.dense_ms,
        "best": outcome.best,
        "ours_ms": outcome.sparse_ms,
        "speedup": outcome.speedup,
        "error": outcome.max_rel_err,
        "allowed": allowed,
        "right": None if outcome.max_rel_err is None else outcome.max_rel_err <= allowed,
        "problems": outcome.problems,
    }


def _built(build: Callable[[], Maps]) -> Callable[[], Maps]:
    """Builds now; gives what was built, or fails as it failed."""
    try:
        made = build()
    except Exception as error:  # compilers, drivers and launches fail in any way
        failure = error

        def fail() -> Maps:
            raise failure

        return fail
    return lambda: made
