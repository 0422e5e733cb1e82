"""How a call is timed on a device: on a GPU as a CUDA graph of many calls, so that Python and
launches take no part."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from sparse_ovs.profiling.devices import clock_of
from sparse_ovs.profiling.timing import Timings, time_interleaved

_WARM_UP = 3


class Stopwatch:
    """Times contestants on one device.

    Args:
        device: where they run.
        repeats: calls in one sample of a GPU.
    """

    def __init__(self, device: torch.device, repeats: int = 10) -> None:
        self._device = device
        self._repeats = repeats if device.type == "cuda" else 1

    def prepare(self, call: Callable[[], object], captured: bool = True) -> Callable[[], object]:
        """Warms a call up, which packs and tunes; on a GPU captures `repeats` of it, or where
        `captured` is False repeats it as it is: Python and launches then take part."""
        for _ in range(_WARM_UP):
            call()
        if self._device.type != "cuda":
            return call
        if not captured:
            return lambda: [call() for _ in range(self._repeats)]
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(self._repeats):
                call()
        return graph.replay

    def time(self, prepared: Mapping[str, Callable[[], object]], rounds: int) -> Timings:
        """Milliseconds of one call, by contestant, taken in turns."""
        clock = clock_of(self._device)
        timings = time_interleaved(prepared, rounds, clock=clock)
        return Timings(
            {name: [ms / self._repeats for ms in times] for name, times in timings.samples.items()}
        )
