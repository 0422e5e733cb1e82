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
from gpu_runs.steps.checks import ALLOWED, relative_error
from gpu_runs.steps.encoders import make_encoders, maps
from sparse_ovs.nn import sparsify
from sparse_ovs.profiling.baselines import build_baselines
from sparse_ovs.profiling.bench.stopwatch import Stopwatch

Rows = Iterator[dict[str, Any]]
_PATTERNS = ("unstructured", "block64x64")


def run(item: str, place: Place) -> Rows:
    """Rows of one batch at 640 x 640; in a rehearsal the images are small."""
    batch = int(item.removeprefix("batch "))
    yield from time_trunk(batch, 96 if place.rehearsing else 640, place)


def time_trunk(batch: int, size: int, place: Place) -> Rows:
    """Rows of kind `model`, ours first: they are what nobody else measures."""
    torch.backends.cudnn.benchmark = True
    device, half = torch.device(place.device), torch.float16
    stopwatch = Stopwatch(device)
    x = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    low = x.to(device, half, memory_format=torch.channels_last)
    common = {"kind": "model", "batch": batch, "size": size, "arithmetic": "float16"}
    twin: nn.Module | None = None
    with torch.no_grad():
        for pattern in _PATTERNS:
            sparse, dense, name = make_encoders(pattern)
            sparse = sparse.to(device, half, memory_format=torch.channels_last)
            dense = dense.to(device)
            report = sparsify(sparse, pattern, None, fold_bn="eval", engine="native")
            found = maps(sparse(low))
            exact = maps(copy.deepcopy(dense).double()(low.double()))
            twin = dense.to(half, memory_format=torch.channels_last)
            allowed = 2 * _error(maps(twin(low)), exact) + ALLOWED["float16"]
            routes = Counter(layer.backend for layer in report.layers)
            error = _error(found, exact)
            about = {
                **common,
                "model": name,
                "pattern": pattern,
                "error": error,
                "allowed": allowed,
                "right": error <= allowed,
            }
            del exact
            ways = {"ours eager": False, "ours graph": True}
            for contestant, ms in _times(lambda: sparse(low), ways, stopwatch).items():
                yield {**about, "contestant": contestant, "ms": ms, "routes": dict(routes)}
            report = sparsify(sparse, pattern, None, fold_bn="eval", example_input=low)
            routes = Counter(layer.backend for layer in report.layers)
            ways = {"ours graph, layers that are faster": True}
            for contestant, ms in _times(lambda: sparse(low), ways, stopwatch).items():
                yield {**about, "contestant": contestant, "ms": ms, "routes": dict(routes)}
            del sparse
        assert twin is not None
        yield from _dense(twin, low, {**common, "model": name, "pattern": "dense"}, stopwatch)


def _dense(model: nn.Module, low: Tensor, about: dict[str, Any], stopwatch: Stopwatch) -> Rows:
    ways = {"dense eager": False, "dense graph": True}
    for contestant, ms in _times(lambda: model(low), ways, stopwatch).items():
        yield {**about, "contestant": contestant, "ms": ms}
    built = build_baselines(model, low, ("compiled",))
    if "compiled" not in built.runs:
        yield {"kind": "problem", "of": "dense compiled", "text": built.failures["compiled"]}
        return
    ways = {"dense compiled": False, "dense compiled, graph": True}
    for contestant, ms in _times(built.runs["compiled"], ways, stopwatch).items():
        yield {**about, "contestant": contestant, "ms": ms}


def _times(
    call: Callable[[], object], ways: dict[str, bool], stopwatch: Stopwatch
) -> dict[str, float]:
    """Milliseconds of a call by name; True captures it in a graph."""
    prepared = {
        name: stopwatch.prepare(call, captured=captured) for name, captured in ways.items()
    }
    timings = stopwatch.time(prepared, ROUNDS)
    return {name: timings.median(name) for name in prepared}


def _error(found: list[Tensor], exact: list[Tensor]) -> float:
    return max(relative_error(a, b) for a, b in zip(found, exact, strict=True))
