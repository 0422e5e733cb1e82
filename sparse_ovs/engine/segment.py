"""A run of native steps, lowered to a plan of the library for one input size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sparse_ovs import _native
from sparse_ovs.engine.autotune import Tuner
from sparse_ovs.engine.graph import Conv, Graph, Node
from sparse_ovs.engine.steps import add_step
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

    added = [s for s in steps if isinstance(s, Conv) and s.residual is not None]
    fixed = {*inputs, *outputs, *(s.name for s in added)}  # maps of one layout
    fixed |= {s.residual for s in added if s.residual is not None}

    plan = _native.Plan()
    maps = {}
    for name in [*inputs, *(step.name for step in steps)]:
        layout = _native.NHWC if channels_last.get(name) else _native.NCHW
        maps[name] = plan.tensor(shapes[name], layout)
    for step in steps:
        tuning = None
        if isinstance(step, Conv):
            own = fixed.isdisjoint((step.source, step.name))
            tuning = tuner.tuning(step, shapes, own)  # may change weights
        add_step(plan, step, maps, shapes[step.name][1], weights, tuning)
    plan.finalize([maps[name] for name in inputs], [maps[name] for name in outputs], threads)
    return Segment(steps, inputs, outputs, [shapes[name] for name in outputs], channels_last, plan)
