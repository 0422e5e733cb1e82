"""An encoder as plans of native segments, one for each input size, in one nn.Module."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn

from sparse_ovs import _native
from sparse_ovs.engine.autotune import Tuner, autotune_allowed
from sparse_ovs.engine.bf16 import to_bf16
from sparse_ovs.engine.contract import check_input, check_threads
from sparse_ovs.engine.export import export_graph
from sparse_ovs.engine.graph import Conv, Graph
from sparse_ovs.engine.int8 import to_int8
from sparse_ovs.engine.memory import EncoderMemory, bytes_of
from sparse_ovs.engine.own_int8 import to_own_int8
from sparse_ovs.engine.plan import Plan
from sparse_ovs.engine.planfile import write_plan
from sparse_ovs.engine.quantization import Quantization
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
        autotune: time the layers' candidates for the example's shape, where the cache on disk has
            no tuning; other sizes take the nearest.
        release_dense: memory comes first: keep neither the model nor the dense weights of native
            steps, and their sparse weights once for all sizes where that is not much slower; time
            no layers. An encoder with torch nodes then runs inputs of the example's shape alone.
        precision: that steps with kernels of it compute in: "fp32", "bf16" or "int8".
        quantization: int8's scales; None takes those that the model brings, which convert_pt2e
            made.

    Raises:
        RuntimeError: the native library cannot be used here.
        ValueError: an example or a thread count that is no such thing, a quantization of another
            model, or SPARSE_OVS_AUTOTUNE is neither 0 nor 1.
        TypeError, ValueError: at the call, for other input.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Tensor,
        threads: int | None,
        autotune: bool = True,
        release_dense: bool = False,
        precision: str = "fp32",
        quantization: Quantization | None = None,
    ) -> None:
        super().__init__()
        if reason := _native.unavailable_reason():
            raise RuntimeError(reason)
        if example_input.dtype != torch.float32 or example_input.dim() != 4:
            raise ValueError(
                f"expected a float32 example (N, C, H, W), got {example_input.dtype} "
                f"{tuple(example_input.shape)}"
            )
        check_threads(threads)
        # Outside _modules: the dense weights are only kept to export other sizes from.
        self.__dict__["_model"] = None if release_dense else model
        self._threads = threads
        self._channels = example_input.shape[1]
        self._plans: OrderedDict[tuple[Any, ...], Plan] = OrderedDict()
        self._renew_lock()
        self._weights = NativeConvWeights(held_once=release_dense)
        self._quantization = quantization
        self._precision = precision
        self._graph, self._out_spec = self._export(model, example_input)
        self._shape = tuple(example_input.shape)
        allowed = autotune_allowed()
        # Weights that are held once have the tiles that suit all sizes.
        self._tuner = Tuner(self._weights, autotune and allowed and not release_dense)
        with self._tuner.timing(sum(isinstance(node, Conv) for node in self._graph.nodes)):
            self.plan_for(example_input)
        if release_dense:
            for node in self._graph.nodes:
                if isinstance(node, Conv) and self._weights.holds(node):
                    node.weight = node.weight.to("meta")  # its shape is all that plans need
        _alive.add(self)

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
        graph, model = self._graph, self.__dict__["_model"]
        # Torch nodes and some others hold sizes of the exported input.
        if tuple(x.shape) != self._shape and any(node.holds_size for node in graph.nodes):
            if model is None:
                raise ValueError(
                    f"expected an input {self._shape} after release_dense, since parts of the "
                    f"encoder hold its size, got {tuple(x.shape)}"
                )
            graph, _ = self._export(model, torch.empty(x.shape))
        return Plan(graph, x.shape, self._weights, threads, self._tuner)

    def _export(self, model: nn.Module, example: Tensor) -> tuple[Graph, Any]:
        graph, out_spec = export_graph(model, example)
        if self._precision == "bf16":
            to_bf16(graph)
        elif self._precision == "int8" and self._quantization is None:
            to_own_int8(graph)
        elif self._quantization is not None:
            to_int8(graph, self._quantization)
        return graph, out_spec

    def forward(self, x: Tensor) -> Any:
        check_input(x, self._channels)
        with torch.no_grad():
            outputs = self.plan_for(x).run(x)
        return pytree.tree_unflatten(outputs, self._out_spec)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a file that load_plan and C programs (sparse_ovs.h) run; atomic. Encoders whose
        steps hold sizes, as those of tokens do, run inputs of the example's height and width there.

        Raises:
            ValueError: it has steps in torch, or its outputs are nested in anything but lists,
                tuples and dicts.
        """
        tree = pytree.tree_unflatten(self._graph.outputs, self._out_spec)
        write_plan(path, self._graph, self._shape, tree, self._weights)

    def memory(self) -> EncoderMemory:
        """Bytes held now."""
        packed = self._weights.packed_nbytes()
        return EncoderMemory(
            packed_bytes=packed,
            stream_bytes=self._weights.nbytes() - packed,
            dense_bytes=bytes_of(self.__dict__["_model"], self._graph),
            arena_bytes={shape: plan.arena_nbytes() for (shape, _), plan in self._live_plans()},
        )

    def _live_plans(self) -> list[tuple[tuple[Any, ...], Plan]]:
        """((shape, threads), plan), the last used last."""
        with self._lock:
            return list(self._plans.items())

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledEncoder:
        # Nothing in here ever changes but the cache of plans, which may be shared.
        return self

    def __str__(self) -> str:
        return "\n\n".join(
            f"input {'x'.join(map(str, shape))}, threads: {threads}\n{plan}"
            for (shape, threads), plan in self._live_plans()
        )


# A child forked while another thread makes a plan would find the lock held for ever.
_alive: weakref.WeakSet[CompiledEncoder] = weakref.WeakSet()


def _renew_locks() -> None:
    for encoder in list(_alive):
        encoder._renew_lock()


os.register_at_fork(after_in_child=_renew_locks)
