"""RN50's trunk: dense eager, as a graph and compiled, and ours."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gpu_runs.place import Place
from gpu_runs.plan import ROUNDS
from gpu_runs.steps.checks import ALLOWED, relative_error, without_cudnn
from gpu_runs.steps.encoders import make_encoders, maps
from sparse_ovs.nn import sparsify
from sparse_ovs.profiling.baselines import build_baselines
from sparse_ovs.profiling.bench.arithmetic import multiplying_as
from sparse_ovs.profiling.bench.stopwatch import Stopwatch

Rows = Iterator[dict[str, Any]]
Row = dict[str, Any]
_PATTERNS = ("unstructured", "block64x64")


def run(item: str, place: Place) -> Rows:
    """Rows of one batch at 640 x 640; in a rehearsal the images are small."""
    batch = int(item.removeprefix("batch "))
    yield from time_trunk(batch, 96 if place.rehearsing else 640, place)


def time_trunk(batch: int, size: int, place: Place) -> Rows:
    """Rows of kind `model`, ours first: they are what nobody else measures."""
    torch.backends.cudnn.benchmark = True
    device = torch.device(place.device)
    stopwatch = Stopwatch(device)
    x = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    low = x.to(device, torch.float16, memory_format=torch.channels_last)
    common = {"kind": "model", "batch": batch, "size": size, "arithmetic": "float16"}
    with torch.no_grad(), multiplying_as("float16"):
        for pattern in _PATTERNS:
            sparse, dense, name = make_encoders(pattern)
            about = {**common, "model": name, "pattern": pattern}
            yield from _ours(_to(sparse, low), dense.to(device), low, about, stopwatch)
        twin = _to(dense, low)
        yield from _dense(twin, low, {**common, "model": name, "pattern": "dense"}, stopwatch)


def _to(model: nn.Module, like: Tensor) -> nn.Module:
    return model.to(like.device, like.dtype, memory_format=torch.channels_last)


def _ours(
    sparse: nn.Module, dense: nn.Module, low: Tensor, about: Row, stopwatch: Stopwatch
) -> Rows:
    """All pruned layers sparse, and then those alone that are faster so."""
    pattern = about["pattern"]

    def call() -> object:
        return sparse(low)

    report = sparsify(sparse, pattern, None, fold_bn="eval")
    found = maps(call())
    with without_cudnn():
        exact = maps(copy.deepcopy(dense).double()(low.double()))
    allowed = 2 * _error(maps(_to(dense, low)(low)), exact) + ALLOWED["float16"]
    error = _error(found, exact)
    del exact, found
    about = {**about, "error": error, "allowed": allowed, "right": error <= allowed}
    routes = _routes(report.layers)
    for row in _times(call, {"ours eager": False, "ours graph": True}, about, stopwatch):
        yield {**row, "routes": routes}
    report = sparsify(sparse, pattern, None, fold_bn="eval", example_input=low)
    routes = _routes(report.layers)
    for row in _times(call, {"ours graph, layers that are faster": True}, about, stopwatch):
        yield {**row, "routes": routes}


def _dense(model: nn.Module, low: Tensor, about: Row, stopwatch: Stopwatch) -> Rows:
    ways = {"dense eager": False, "dense graph": True}
    yield from _times(lambda: model(low), ways, about, stopwatch)
    built = build_baselines(model, low, ("compiled",))
    if "compiled" not in built.runs:
        yield {"kind": "problem", "of": "dense compiled", "text": built.failures["compiled"]}
        return
    ways = {"dense compiled": False, "dense compiled, graph": True}
    yield from _times(built.runs["compiled"], ways, about, stopwatch)


def _times(
    call: Callable[[], object], ways: dict[str, bool], about: Row, stopwatch: Stopwatch
) -> Rows:
    """A row for each way of a call; True captures it in a graph."""
    prepared = {name: stopwatch.prepare(call, captured=captured) for name, captured in ways.items()}
    timings = stopwatch.time(prepared, ROUNDS)
    for name in prepared:
        yield {**about, "contestant": name, "ms": timings.median(name)}


def _routes(layers: Any) -> dict[str, int]:
    return dict(Counter(layer.backend for layer in layers))


def _error(found: list[Tensor], exact: list[Tensor]) -> float:
    return max(relative_error(a, b) for a, b in zip(found, exact, strict=True))
