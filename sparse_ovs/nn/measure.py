"""What reaches each layer in a run, and how long the layer takes dense and native."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.nn.attention import SparseMultiheadAttention
from sparse_ovs.nn.eligible import Candidate

_ROUNDS = 5


@dataclass
class LayerRun:
    """The first call of a layer: its arguments, and the multiply-accumulates of the dense layer."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    macs: int


def dense_macs(module: Any, x: Tensor, y: Tensor) -> int:
    """Multiply-accumulates of a dense Conv2d, Linear, or the projections of a MultiheadAttention.

    Args:
        x, y: the layer's first input and its output.
    """
    if isinstance(module, nn.Conv2d):
        return y.numel() * module.weight[0].numel()
    if isinstance(module, nn.MultiheadAttention):
        return x.numel() * 4 * module.embed_dim
    return x.numel() * module.out_features


def record_runs(
    model: nn.Module, found: list[Candidate], example_input: Any
) -> dict[str, LayerRun]:
    """Runs the model on the example, in eval mode without gradients, and notes each layer's
    first call by name."""
    runs: dict[str, LayerRun] = {}
    handles = []

    def watch(name: str) -> Callable[..., None]:
        def note(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
        ) -> None:
            if name not in runs:
                y = out[0] if isinstance(out, tuple) else out
                first = args[0] if args else next(iter(kwargs.values()))
                runs[name] = LayerRun(args, kwargs, dense_macs(module, first, y))

        return note

    training = {module: module.training for module in model.modules()}
    try:
        for candidate in found:
            handles.append(
                candidate.module.register_forward_hook(watch(candidate.name), with_kwargs=True)
            )
        model.eval()
        with torch.no_grad():
            model(*example_input) if isinstance(example_input, tuple) else model(example_input)
    finally:
        for handle in handles:
            handle.remove()
        # train() on the whole model first: folds go by it; then what single modules had of their
        # own.
        model.train(training[model])
        for module, mode in training.items():
            if module.training != mode:
                module.train(mode)
    return runs


def slower_than_dense(module: Any, run: LayerRun) -> str:
    """The reason to leave a layer dense, if torch's dense kernel was faster on the recorded
    call; else ""."""
    parts = (
        [module.in_proj, module.out_proj]
        if isinstance(module, SparseMultiheadAttention)
        else [module]
    )
    native: list[float] = []
    dense: list[float] = []
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            for _ in range(_ROUNDS + 1):
                native.append(_seconds(module, run))
                for part in parts:
                    part._reasons = dict.fromkeys(part._reasons, "being timed")
                dense.append(_seconds(module, run))
                for part in parts:
                    part._refresh_reason()
    finally:
        module.train(was_training)
    # The first round packs and warms up.
    native_ms, dense_ms = (1e3 * statistics.median(times[1:]) for times in (native, dense))
    if native_ms <= dense_ms:
        return ""
    return f"dense is faster: {dense_ms:.3g} ms against {native_ms:.3g} ms"


def _seconds(module: nn.Module, run: LayerRun) -> float:
    start = _now(run)
    module(*run.args, **run.kwargs)
    return _now(run) - start


def _now(run: LayerRun) -> float:
    """Seconds, after what a GPU was given to do."""
    if any(isinstance(arg, Tensor) and arg.is_cuda for arg in (*run.args, *run.kwargs.values())):
        torch.cuda.synchronize()
    return time.perf_counter()
