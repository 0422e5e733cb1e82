"""Lowers a graph for one input size: native segments, with torch nodes between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.engine.autotune import Tuner
from sparse_ovs.engine.contract import check_rounds
from sparse_ovs.engine.describe import StepRow, as_table, native_rows
from sparse_ovs.engine.graph import AsMap, Conv, Graph, Node, TorchNode, View
from sparse_ovs.engine.in_torch import run_in_torch
from sparse_ovs.engine.planfile import step_labels, step_record
from sparse_ovs.engine.steps import add_step, is_native
from sparse_ovs.engine.weights import NativeConvWeights
from sparse_ovs.ops.layout import empty_output


@dataclass
class Segment:
    """Native steps that run in one call."""

    steps: list[Node]
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)  # of the outputs
    # Of inputs and outputs: memory is (N, H, W, C), not (N, C, H, W).
    channels_last: dict[str, bool] = field(default_factory=dict)
    plan: _native.Plan | None = None

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
        assert self.plan is not None
        maps = [t.data_ptr() for t in given], [t.data_ptr() for t in made]
        if seconds is None:
            self.plan.run_many(*maps, threads)
        else:
            spent = self.plan.time(*maps, threads)
            seconds.update(zip((step.name for step in self.steps), spent, strict=True))
        values.update(zip(self.outputs, made, strict=True))

    def _format(self, name: str) -> torch.memory_format:
        return torch.channels_last if self.channels_last[name] else torch.contiguous_format


class Plan:
    """What runs for one input shape, step by step; `str` shows it, with times once measured.

    Args:
        graph: after its passes.
        shape: (N, C, H, W) of the input.
        weights: packed weights by node name, shared by the plans of all sizes.
        threads: that tilings are chosen for.
        tuner: of the convolutions.
    """

    def __init__(
        self,
        graph: Graph,
        shape: Sequence[int],
        weights: NativeConvWeights,
        threads: int,
        tuner: Tuner,
    ) -> None:
        self._graph = graph
        self._threads = threads
        self._shapes: dict[str, tuple[int, ...]] = {graph.input: tuple(shape)}
        self._parts: list[Segment | Node] = []
        self._seconds: dict[str, float] = {}  # by node, once measured
        for node in graph.nodes:
            self._shapes[node.name] = node.out_shape(self._shapes)
            last = self._parts[-1] if self._parts else None
            if not is_native(node):
                self._parts.append(node)
            elif isinstance(last, Segment):
                last.steps.append(node)
            else:
                self._parts.append(Segment([node]))
        for part in self._parts:
            if isinstance(part, Segment):
                self._lower(part, weights, tuner)

    def run(self, x: Tensor, seconds: dict[str, float] | None = None) -> list[Tensor]:
        """The graph's outputs for an input of the plan's shape; if wanted, the seconds spent in
        each node."""
        values: dict[str, Any] = {self._graph.input: x}
        for part in self._parts:
            if isinstance(part, Segment):
                part.run(values, self._threads, seconds)
            else:
                start = perf_counter()
                values[part.name] = run_in_torch(part, values)
                if seconds is not None:
                    seconds[part.name] = perf_counter() - start
        return [values[name] for name in self._graph.outputs]

    def measure(self, rounds: int = 5) -> Plan:
        """Times every step on random input, and keeps the medians for `rows` and `str`.

        Args:
            rounds: runs to take the median of, after one that is not counted.

        Raises:
            ValueError: rounds below 1.
        """
        check_rounds(rounds)
        x = torch.randn(self._shapes[self._graph.input])
        samples: list[dict[str, float]] = []
        with torch.no_grad():
            for _ in range(rounds + 1):
                samples.append({})
                self.run(x, samples[-1])
        self._seconds = {name: median(one[name] for one in samples[1:]) for name in samples[0]}
        return self

    def rows(self) -> list[StepRow]:
        """What runs, in order."""
        labels, rows, groups = step_labels(self._graph), [], 0
        for part in self._parts:
            if isinstance(part, Segment):
                assert part.plan is not None
                records = [step_record(step, labels) for step in part.steps]
                seconds = [self._seconds.get(step.name) for step in part.steps]
                rows += native_rows(part.plan.step_infos(), records, seconds, self._threads, groups)
                groups = max([groups, *(row.group + 1 for row in rows if row.group is not None)])
            else:
                shape = self._shapes[part.name]
                op = str(part.target) if isinstance(part, TorchNode) else type(part).__name__
                spent = self._seconds.get(part.name)
                rows.append(StepRow(labels[part.name], op, shape, "torch", spent))
        return rows

    def arena_nbytes(self) -> int:
        """Bytes of activations that the native segments hold inside during a run."""
        plans = [part.plan for part in self._parts if isinstance(part, Segment)]
        return sum(plan.arena_nbytes() for plan in plans if plan is not None)

    def _lower(self, segment: Segment, weights: NativeConvWeights, tuner: Tuner) -> None:
        inside = {step.name for step in segment.steps}
        read = [name for step in segment.steps for name in step.sources()]
        segment.inputs = [name for name in dict.fromkeys(read) if name not in inside]
        readers: dict[str, list[Node | None]] = {}
        for node in self._graph.nodes:
            for name in node.sources() if node.name not in inside else ():
                readers.setdefault(name, []).append(node)
        for name in self._graph.outputs:
            readers.setdefault(name, []).append(None)
        segment.outputs = [step.name for step in segment.steps if step.name in readers]
        for name in segment.inputs:
            segment.channels_last[name] = isinstance(self._graph.node(name), AsMap)
        for name in segment.outputs:
            segment.channels_last[name] = all(
                isinstance(node, View) and node.channels_last() for node in readers[name]
            )

        added = [s for s in segment.steps if isinstance(s, Conv) and s.residual is not None]
        fixed = {*segment.inputs, *segment.outputs, *(s.name for s in added)}  # maps of one layout
        fixed |= {s.residual for s in added if s.residual is not None}

        plan = _native.Plan()
        maps = {}
        for name in [*segment.inputs, *(step.name for step in segment.steps)]:
            layout = _native.NHWC if segment.channels_last.get(name) else _native.NCHW
            maps[name] = plan.tensor(self._shapes[name], layout)
        for step in segment.steps:
            tuning = None
            if isinstance(step, Conv):
                own = fixed.isdisjoint((step.source, step.name))
                tuning = tuner.tuning(step, self._shapes, own)  # may change weights
            add_step(plan, step, maps, self._shapes[step.name][1], weights, tuning)
        plan.finalize(
            [maps[name] for name in segment.inputs],
            [maps[name] for name in segment.outputs],
            self._threads,
        )
        segment.plan = plan
        segment.shapes = [self._shapes[name] for name in segment.outputs]

    def __str__(self) -> str:
        return as_table(self.rows())
