"""A run of native steps, lowered to a plan of the library for one input size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sparse_ovs import _native
from sparse_ovs.engine.autotune import Tuner
from sparse_ovs.engine.graph import Conv, Graph, Node, Summing
from sparse_ovs.engine.records import make_program
from sparse_ovs.engine.torch_nodes import AsMap, View
from sparse_ovs.engine.weights import NativeConvWeights
from sparse_ovs.ops.layout import empty_output


@dataclass
class Segment:
    """Native steps that run in one call.

    Attributes:
        inputs, outputs: names of maps.
        shapes: of the outputs.
        channels_last: of inputs and outputs: memory is (N, H, W, C), not (N, C, H, W).
    """

    steps: Sequence[Node]
    inputs: list[str]
    outputs: list[str]
    shapes: list[tuple[int, ...]]
    channels_last: dict[str, bool]
    plan: _native.Plan

    def run(
        self, values: dict[str, Any], threads: int, seconds: dict[str, float] | None = None
    ) -> None:
        """Takes its inputs from `values` and puts its outputs there; if wanted, the seconds spent
        in each step."""
        given = [values[name].contiguous(memory_format=self._format(name)) for name in self.inputs]
        made = [
            empty_output(shape, self._format(name))
            for name, shape in zip(self.outputs, self.shapes, strict=True)
        ]
        maps = [t.data_ptr() for t in given], [t.data_ptr() for t in made]
        if seconds is None:
            self.plan.run_many(*maps, threads)
        else:
            spent = self.plan.time(*maps, threads)
            seconds.update(zip((step.name for step in self.steps), spent, strict=True))
        values.update(zip(self.outputs, made, strict=True))

    def _format(self, name: str) -> torch.memory_format:
        return torch.channels_last if self.channels_last[name] else torch.contiguous_format


def lower(
    graph: Graph,
    steps: Sequence[Node],
    shapes: Mapping[str, tuple[int, ...]],
    weights: NativeConvWeights,
    threads: int,
    tuner: Tuner,
) -> Segment:
    """Neighbouring native nodes of a graph as one segment.

    Args:
        shapes: of the graph's values, by name.
        weights: packed weights by node name, shared by the plans of all sizes.
        threads: that tilings are chosen for.
        tuner: of the convolutions.

    Raises:
        NativeRefusal: the library does not take them.
    """
    inside = {step.name for step in steps}
    read = [name for step in steps for name in step.sources()]
    inputs = [name for name in dict.fromkeys(read) if name not in inside]
    readers: dict[str, list[Node | None]] = {}
    for node in graph.nodes:
        for name in node.sources() if node.name not in inside else ():
            readers.setdefault(name, []).append(node)
    for name in graph.outputs:
        readers.setdefault(name, []).append(None)
    outputs = [step.name for step in steps if step.name in readers]
    channels_last = {name: isinstance(graph.node(name), AsMap) for name in inputs}
    for name in outputs:
        channels_last[name] = all(
            isinstance(node, View) and node.channels_last() for node in readers[name]
        )

    places = _places(steps, channels_last)
    own_weights, tunings = {}, {}
    for step in steps:
        if not isinstance(step, Conv):
            continue
        tuning = tuner.tuning(step, shapes, places, len(steps) == 1)  # may change weights
        if tuning is not None:
            tunings[step.name] = tuning
        own_weights[step.name] = weights[step]
    layouts = {name: _native.NHWC if nhwc else _native.NCHW for name, nhwc in channels_last.items()}
    channels = {name: shapes[name][1] for name in inputs}
    program = make_program(channels, steps, outputs, own_weights, tunings)
    given = [(shapes[name], layouts[name]) for name in inputs]
    plan = program.plan(given, [layouts[name] for name in outputs], threads)
    return Segment(steps, inputs, outputs, [shapes[name] for name in outputs], channels_last, plan)


def _places(
    steps: Sequence[Node], channels_last: Mapping[str, bool]
) -> dict[str, _native.MapPlace]:
    """Where each map lies in the plan of these steps (see sovs_map_place); `channels_last` says how
    the caller's do."""
    place = _native.MapPlace
    callers = {n: place.NHWC if last else place.NCHW for n, last in channels_last.items()}
    if len(steps) == 1:
        return callers
    places = {step.name: place.FREE for step in steps}
    read_again = {name for step in steps for name in step.sources()} & places.keys()
    places |= {name: at for name, at in callers.items() if name not in read_again}
    for step in steps:
        if isinstance(step, Summing) and step.residual is not None:
            places[step.residual] = places[step.name] = place.TILED
    return places
