"""Lowers a graph for one input size: native segments, with torch nodes between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from sparse_ovs import _native
from sparse_ovs.engine.autotune import Tuner
from sparse_ovs.engine.contract import check_rounds
from sparse_ovs.engine.describe import StepRow, as_table, native_rows
from sparse_ovs.engine.graph import Conv, Graph, Node, Pool
from sparse_ovs.engine.in_torch import reason_for_torch, run_in_torch
from sparse_ovs.engine.records import record_of, step_labels
from sparse_ovs.engine.segment import Segment, lower
from sparse_ovs.engine.torch_nodes import TorchNode
from sparse_ovs.engine.weights import NativeConvWeights


class Plan:
    """What runs for one input shape, step by step; `str` shows it, with times once measured.

    Args:
        graph: after its passes.
        shape: (N, C, H, W) of the input.
        weights: packed weights by node name, shared by the plans of all sizes.
        threads: that tilings are chosen for.
        tuner: of the convolutions.

    Raises:
        ValueError: nothing is left of an input of this shape in some layer.
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
        self._weights = weights
        self._threads = threads
        self._shapes: dict[str, tuple[int, ...]] = {graph.input: tuple(shape)}
        self._parts: list[Segment | Node] = []
        self._refusals: dict[str, str] = {}  # the library's, by node
        self._seconds: dict[str, float] = {}  # by node, once measured
        for node in graph.nodes:
            self._shapes[node.name] = self._shape_of(node)
        for native, run in groupby(graph.nodes, Node.is_native):
            nodes = list(run)
            self._parts += self._lower(nodes, tuner) if native else nodes

    def run(self, x: Tensor, seconds: dict[str, float] | None = None) -> list[Tensor]:
        """The graph's outputs for an input of the plan's shape; if wanted, the seconds spent in
        each node."""
        values: dict[str, Any] = {self._graph.input: x}
        for part in self._parts:
            if isinstance(part, Segment):
                part.run(values, self._threads, seconds)
            else:
                start = perf_counter()
                values[part.name] = run_in_torch(part, values, self._weights)
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
                records = [record_of(step, labels) for step in part.steps]
                seconds = [self._seconds.get(step.name) for step in part.steps]
                notes = [step.note for step in part.steps]
                infos = part.plan.step_infos()
                rows += native_rows(infos, records, seconds, self._threads, groups, notes)
                groups = max([groups, *(row.group + 1 for row in rows if row.group is not None)])
            else:
                shape = self._shapes[part.name]
                op = str(part.target) if isinstance(part, TorchNode) else type(part).__name__
                spent = self._seconds.get(part.name)
                reason = self._refusals.get(part.name) or reason_for_torch(part)
                rows.append(StepRow(labels[part.name], op, shape, "torch", spent, reason=reason))
        return rows

    def arena_nbytes(self) -> int:
        """Bytes of activations that the native segments hold inside during a run."""
        segments = [part for part in self._parts if isinstance(part, Segment)]
        return sum(segment.plan.arena_nbytes() for segment in segments)

    def _shape_of(self, node: Node) -> tuple[int, ...]:
        shape = node.out_shape(self._shapes)
        if isinstance(node, (Conv, Pool)) and min(shape[2:]) < 1:
            height, width = self._shapes[self._graph.input][2:]
            raise ValueError(
                f"expected a larger input than {height}x{width}: nothing is left of it in "
                f"{node.layer or node.name}"
            )
        return shape

    def _lower(self, steps: Sequence[Node], tuner: Tuner) -> list[Segment | Node]:
        """Native segments of the steps, but for those that the library refuses."""
        try:
            return [lower(self._graph, steps, self._shapes, self._weights, self._threads, tuner)]
        except _native.NativeRefusal as refusal:
            if len(steps) == 1:
                self._refusals[steps[0].name] = str(refusal)
                return [steps[0]]
        middle = len(steps) // 2
        return [*self._lower(steps[:middle], tuner), *self._lower(steps[middle:], tuner)]

    def __str__(self) -> str:
        return as_table(self.rows())
