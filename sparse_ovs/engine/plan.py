"""Lowers a graph for one input size: native segments, with torch nodes between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.engine.autotune import Tuner
from sparse_ovs.engine.describe import StepRow, as_table, native_rows
from sparse_ovs.engine.graph import (
    Add,
    BatchNorm,
    Conv,
    Graph,
    Node,
    Pool,
    Relu,
    TorchNode,
    substitute,
)
from sparse_ovs.engine.planfile import step_labels, step_record
from sparse_ovs.engine.weights import NativeConvWeights
from sparse_ovs.ops.layout import empty_output


@dataclass
class Segment:
    """Native steps that run in one call."""

    steps: list[Node]
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)  # of the outputs
    plan: _native.Plan | None = None

    def run(
        self, values: dict[str, Any], threads: int, seconds: dict[str, float] | None = None
    ) -> None:
        """Takes its inputs from `values` and puts its outputs there; if wanted, the seconds spent
        in each step."""
        given = [values[name].contiguous() for name in self.inputs]
        made = [empty_output(shape, torch.contiguous_format) for shape in self.shapes]
        assert self.plan is not None
        maps = [t.data_ptr() for t in given], [t.data_ptr() for t in made]
        if seconds is None:
            self.plan.run_many(*maps, threads)
        else:
            spent = self.plan.time(*maps, threads)
            seconds.update(zip((step.name for step in self.steps), spent, strict=True))
        values.update(zip(self.outputs, made, strict=True))


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
        if rounds < 1:
            raise ValueError(f"expected at least 1 round, got {rounds}")
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
                shape = part.shape if isinstance(part, TorchNode) else self._shape(part.name)
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
        read_outside = set(self._graph.outputs)
        for node in self._graph.nodes:
            if node.name not in inside:
                read_outside |= set(node.sources())
        segment.outputs = [step.name for step in segment.steps if step.name in read_outside]

        added = [s for s in segment.steps if isinstance(s, Conv) and s.residual is not None]
        fixed = {*segment.inputs, *segment.outputs, *(s.name for s in added)}  # maps of one layout
        fixed |= {s.residual for s in added if s.residual is not None}

        plan = _native.Plan()
        maps = {name: plan.tensor(self._shape(name), _native.NCHW) for name in segment.inputs}
        for step in segment.steps:
            assert isinstance(step, (Conv, Pool))
            shape = step.out_shape(self._shape(step.source))
            self._shapes[step.name] = shape
            target = maps[step.name] = plan.tensor(shape, _native.NCHW)
            if isinstance(step, Pool):
                plan.avg_pool2x2(maps[step.source], target)
                continue
            residual = None if step.residual is None else maps[step.residual]
            own = fixed.isdisjoint((step.source, step.name))
            tuning = tuner.tuning(step, self._shape(step.source), own)  # may change the weights
            plan.conv2d(
                weights[step],
                maps[step.source],
                target,
                step.stride,
                step.padding,
                step.dilation,
                step.relu,
                residual,
                tuning,
            )
        plan.finalize(
            [maps[name] for name in segment.inputs],
            [maps[name] for name in segment.outputs],
            self._threads,
        )
        segment.plan = plan
        segment.shapes = [self._shape(name) for name in segment.outputs]

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self._shapes:
            node = self._graph.node(name)
            if isinstance(node, TorchNode):
                self._shapes[name] = node.shape
            else:
                assert node is not None
                self._shapes[name] = self._shape(node.sources()[0])
        return self._shapes[name]

    def __str__(self) -> str:
        return as_table(self.rows())


def is_native(node: Node) -> bool:
    """The native library has a step for the node."""
    return isinstance(node, (Conv, Pool))


def run_in_torch(node: Node, values: dict[str, Any]) -> Any:
    """A node that stays in torch."""
    if isinstance(node, TorchNode):
        args = substitute(node.args, lambda ref: values[ref.name])
        kwargs = substitute(node.kwargs, lambda ref: values[ref.name])
        return node.target(*args, **kwargs)
    if isinstance(node, BatchNorm):
        x, eps = values[node.source], node.eps
        return F.batch_norm(x, node.mean, node.var, node.gamma, node.beta, False, 0.0, eps)
    if isinstance(node, Relu):
        return F.relu(values[node.source])
    assert isinstance(node, Add)
    return values[node.left] + values[node.right]
