"""An encoder as plans of native segments, one for each input size, in one nn.Module."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn

from sparse_ovs import _native
from sparse_ovs.engine.graph import Graph
from sparse_ovs.engine.importer import import_program
from sparse_ovs.engine.passes import optimise
from sparse_ovs.engine.plan import Plan
from sparse_ovs.engine.weights import NativeConvWeights
from sparse_ovs.threads import get_num_threads

# Sizes that a compiled encoder keeps plans for.
_PLANS_KEPT = 8


class CompiledEncoder(nn.Module):
    """Runs an encoder's eval-mode forward without gradients, with the weights of its making.

    Takes (N, C, H, W) float32 on the CPU, of any size that the encoder takes. Safe under concurrent
    calls. Results do not depend on the number of threads, not in a bit.

    Args:
        model: of plain torch modules, in eval mode; not changed, and kept to export other sizes.
        example_input: (N, C, H, W) float32 on the CPU.
        threads: to run on; None follows get_num_threads at each call.

    Raises:
        RuntimeError: the native library cannot be used here.
        ValueError: an example or a thread count that is no such thing.
        TypeError, ValueError: at the call, for other input.
    """

    def __init__(self, model: nn.Module, example_input: Tensor, threads: int | None) -> None:
        super().__init__()
        if reason := _native.unavailable_reason():
            raise RuntimeError(reason)
        if example_input.dtype != torch.float32 or example_input.dim() != 4:
            raise ValueError(
                f"expected a float32 example (N, C, H, W), got {example_input.dtype} "
                f"{tuple(example_input.shape)}"
            )
        if threads is not None and threads < 1:
            raise ValueError(f"expected at least 1 thread, got {threads}")
        # Outside _modules: the dense weights are only kept to export other sizes from.
        self.__dict__["_model"] = model
        self._threads = threads
        self._channels = example_input.shape[1]
        self._plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()
        self._lock = threading.Lock()
        self._weights = NativeConvWeights()
        self._graph, self._out_spec = _export(model, example_input)
        self.plan_for(example_input)

    def plan_for(self, x: Tensor) -> Plan:
        """The plan that runs an input of this shape; made at its first use."""
        threads = self._threads or get_num_threads()
        key = (tuple(x.shape), threads)
        with self._lock:
            plan = self._plans.get(key)
            if plan is None:
                plan = self._plans[key] = self._make_plan(x, threads)
                if len(self._plans) > _PLANS_KEPT:
                    self._plans.popitem(last=False)
            self._plans.move_to_end(key)
            return plan

    def _make_plan(self, x: Tensor, threads: int) -> Plan:
        graph = self._graph
        if self._plans and any(node.holds_size for node in graph.nodes):
            graph, _ = _export(self.__dict__["_model"], torch.empty(x.shape))
        return Plan(graph, x.shape, self._weights, threads)

    def forward(self, x: Tensor) -> Any:
        if x.dtype != torch.float32 or x.device.type != "cpu":
            raise TypeError(f"expected a float32 input on the CPU, got {x.dtype} on {x.device}")
        if x.dim() != 4 or x.shape[1] != self._channels:
            raise ValueError(f"expected an input (N, {self._channels}, H, W), got {tuple(x.shape)}")
        with torch.no_grad():
            outputs = self.plan_for(x).run(x)
        return pytree.tree_unflatten(outputs, self._out_spec)

    def native_bytes(self) -> int:
        """Bytes of weights that the library holds: compact copies and streams of live plans."""
        return self._weights.nbytes()

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledEncoder:
        # Nothing in here ever changes but the cache of plans, which may be shared.
        return self

    def __str__(self) -> str:
        return "\n".join(f"{key[0]}: {plan}" for key, plan in self._plans.items())


def _export(model: nn.Module, example: Tensor) -> tuple[Graph, Any]:
    with torch.no_grad():
        program = torch.export.export(model, (example,))
    out_spec = program.call_spec.out_spec
    return optimise(import_program(program)), out_spec
