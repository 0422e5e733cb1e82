"""Chooses how a sparse layer runs on a GPU: by reasons, and by the clock where several ways fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sparse_ovs.formats import MaskFit
from sparse_ovs.ops.cuda.request import Arithmetic, conv_arithmetic, linear_arithmetic
from sparse_ovs.ops.cuda.routes import ROUTES, Route, Variant
from sparse_ovs.tuning_file import Entries, TuningFile
from sparse_ovs.version import __version__

_WARM_UP, _ROUNDS = 3, 10


class Choice(NamedTuple):
    """A route and its variant."""

    route: Route
    variant: Variant


def unsupported_reasons(fit: MaskFit, arithmetic: Arithmetic) -> list[str]:
    """Why no route runs a mask; empty if one does."""
    reasons: list[str] = []
    for route in ROUTES:
        found = route.unsupported_reasons(fit, arithmetic)
        if not found:
            return []
        reasons += [reason for reason in found if reason not in reasons]
    return reasons


def choices(fit: MaskFit, arithmetic: Arithmetic) -> list[Choice]:
    """Everything that runs a mask, the best guess first."""
    return [
        Choice(route, variant)
        for route in ROUTES
        if not route.unsupported_reasons(fit, arithmetic)
        for variant in route.variants(fit, arithmetic)
    ]


def gpu_route(fit: MaskFit, dtype: torch.dtype, weight_rank: int) -> str:
    """Name of the route that runs a mask where nothing was timed; "" where none does."""
    arithmetic = linear_arithmetic if weight_rank == 2 else conv_arithmetic
    found = choices(fit, arithmetic(dtype))
    return found[0].route.name if found else ""


class Tuner:
    """Times choices on the GPU at hand, once for each layer and size; results stay on disk.

    Args:
        clock: milliseconds of a call on a device, the median of a few.
    """

    def __init__(self, clock: Callable[[Callable[[], object], torch.device], float]) -> None:
        self._clock = clock
        self._known: dict[str, Entries] = {}  # by GPU

    def fastest(
        self,
        candidates: Sequence[Choice],
        layer: Sequence[Hashable],
        size: Sequence[Hashable],
        device: torch.device,
        run: Callable[[Choice], Tensor],
    ) -> Choice:
        """The candidate that runs fastest; the first one where nothing can be timed now.

        Args:
            candidates: at least one.
            layer, size: what the result depends on beside the GPU.
            device: of the tensors.
            run: the layer's forward by one candidate.
        """
        if len(candidates) == 1 or not _can_time(device):
            return candidates[0]
        gpu = _gpu(device)
        if gpu not in self._known:
            self._known[gpu] = _FILE.load(gpu)
        sizes = self._known[gpu].setdefault(_spell(layer), {})
        named = {choice.route.name + _spell(choice.variant): choice for choice in candidates}
        known = sizes.get(_spell(size))
        if known not in named:
            times = {
                name: self._clock(lambda choice=choice: run(choice), device)  # type: ignore[misc]
                for name, choice in named.items()
            }
            known = sizes[_spell(size)] = min(times, key=times.__getitem__)
            _FILE.store(gpu, {_spell(layer): {_spell(size): known}})
        return named[known]


def milliseconds(call: Callable[[], object], device: torch.device) -> float:
    """Median time of a call on a GPU, by events on its current stream."""
    with torch.cuda.device(device):
        for _ in range(_WARM_UP):
            call()
        times = []
        for _ in range(_ROUNDS):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
    return sorted(times)[_ROUNDS // 2]


def _can_time(device: torch.device) -> bool:
    """Neither a clock nor a captured graph may see the trials of a tuner."""
    return device.type == "cuda" and not torch.cuda.is_current_stream_capturing()


@lru_cache
def _gpu(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device)
    return f"{name}, CUDA {torch.version.cuda}, sparse_ovs {__version__}"


def _spell(parts: Sequence[Hashable]) -> str:
    return json.dumps(list(parts), default=str)


def _check(size: str, entry: Any) -> None:
    json.loads(size)
    if type(entry) is not str:
        raise ValueError(f"expected the name of a choice, got {entry!r}")


# Names a file of tunings, or the results of `benchmarks/gpu/run.sh`, which hold one.
TUNINGS_VARIABLE = "SPARSE_OVS_GPU_TUNINGS"
_FILE = TuningFile("gpu_tunings.json", _check, TUNINGS_VARIABLE)
TUNER = Tuner(milliseconds)
