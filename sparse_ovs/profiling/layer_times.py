"""Time spent in each leaf module of an eager model, apart from the end-to-end timing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sparse_ovs.profiling.hooks import hooked


def stage_of(layer: str) -> str:
    """The part of the encoder that a layer belongs to, read off its name.

    `layer1.0.conv1` is in `layer1`, `stages.2.blocks.1.mlp.fc1` in `stages.2`,
    `transformer.resblocks.3.attn` in `transformer.resblocks.3`, and `conv1` in the `stem`.
    """
    parts = layer.split(".")
    for depth, part in enumerate(parts[:-1], start=1):
        if part[-1:].isdigit():
            return ".".join(parts[:depth])
    return ".".join(parts[:-1]) or "stem"


def time_layers(
    model: nn.Module, x: Tensor, rounds: int, clock: Callable[[], float] = perf_counter
) -> tuple[dict[str, float], float]:
    """Times the leaf modules of a model with forward hooks.

    An attention counts as a leaf. What happens between modules (residual adds, reshapes) is in no
    leaf: it is the difference between the second result and the sum of the first.

    Args:
        model: eager, in the mode that it is in; runs without gradients.
        x: (N, C, H, W).
        rounds: passes to take the median of, after one that is not counted.
        clock: seconds.

    Returns:
        Milliseconds by module name, and milliseconds of the whole pass under the hooks.
    """
    spent: list[dict[str, float]] = []
    totals: list[float] = []
    handles: list[RemovableHandle] = []
    for name, module in leaf_modules(model).items():
        handles += _hooks(name, module, spent, clock)
    with hooked(handles), torch.no_grad():
        for _ in range(rounds + 1):
            spent.append(defaultdict(float))
            start = clock()
            model(x)
            totals.append((clock() - start) * 1e3)
    names = {name: None for one in spent[1:] for name in one}
    return {name: median(one.get(name, 0.0) for one in spent[1:]) for name in names}, median(
        totals[1:]
    )


def leaf_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Modules without children, and attentions, by name."""
    leaves: dict[str, nn.Module] = {}
    inside = ""
    for name, module in model.named_modules():
        if inside and name.startswith(inside):
            continue
        attention = isinstance(module, nn.MultiheadAttention)
        if attention or next(module.children(), None) is None:
            leaves[name] = module
        inside = f"{name}." if attention else ""
    return leaves


def _hooks(
    name: str, module: nn.Module, spent: list[dict[str, float]], clock: Callable[[], float]
) -> list[RemovableHandle]:
    started = 0.0

    def before(*_: object) -> None:
        nonlocal started
        started = clock()

    def after(*_: object) -> None:
        spent[-1][name] += (clock() - started) * 1e3

    return [
        module.register_forward_pre_hook(before),
        module.register_forward_hook(after),
    ]
