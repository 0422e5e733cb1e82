"""Other types, another size, and a training step."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from gpu.encoder_layers import LAYERS
from gpu_runs.place import Place
from gpu_runs.plan import ROUNDS, layers_by_value
from gpu_runs.steps.checks import ALLOWED, relative_error
from gpu_runs.steps.encoders import make_encoders, maps
from gpu_runs.steps.layer_times import time_layer
from gpu_runs.steps.trunk import time_trunk
from sparse_ovs.profiling.bench.stopwatch import Stopwatch

Rows = Iterator[dict[str, Any]]
# 2:4 tensor cores are of halves: in float32 blocks and single weights are left.
_PATTERNS = {
    "bfloat16": ("unstructured", "block64x64"),
    "float32": ("unstructured", "block32x32"),
    "tf32": ("block64x64",),
}
_BATCH = 8


def run(item: str, place: Place) -> Rows:
    """Rows of one item."""
    if item == "trunk 224":
        yield from time_trunk(1, 96 if place.rehearsing else 224, place)
    elif item == "training step":
        yield from _training_step(place)
    else:
        arithmetic = item.removesuffix(" layers")
        for layer in layers_by_value()[: len(LAYERS)]:
            yield from time_layer(layer, 1, arithmetic, _PATTERNS[arithmetic], place)


def _training_step(place: Place) -> Rows:
    """Forward and backward under autocast in float16, weights in float32, masks of blocks."""
    device, size = torch.device(place.device), 64 if place.rehearsing else 224
    stopwatch = Stopwatch(device, repeats=1)
    pattern = "block64x64"
    sparse, dense, name = make_encoders(pattern)
    x = torch.randn(_BATCH, 3, size, size, generator=torch.Generator().manual_seed(0))
    x = x.to(device, memory_format=torch.channels_last)
    grads, times = {}, {}
    for contestant, model in (("ours", sparse), ("dense", dense)):
        model = model.to(device, memory_format=torch.channels_last).eval()
        grads[contestant] = _step(model, x, autocast=True)
        call = stopwatch.prepare(lambda m=model: _step(m, x, autocast=True), captured=False)  # type: ignore[misc]
        times[contestant] = stopwatch.time({"": call}, ROUNDS).median("")
    exact = _step(copy.deepcopy(dense).double(), x.double(), autocast=False)
    allowed = 2 * relative_error(grads["dense"], exact) + ALLOWED["float16"]
    for contestant, ms in times.items():
        error = relative_error(grads[contestant], exact)
        yield {
            "kind": "model",
            "model": name,
            "batch": _BATCH,
            "size": size,
            "arithmetic": "float16 autocast",
            "pattern": pattern,
            "contestant": f"{contestant}, forward and backward",
            "ms": ms,
            "error": error,
            "allowed": allowed,
            "right": error <= allowed,
        }


def _step(model: nn.Module, x: Tensor, autocast: bool) -> Tensor:
    """The gradient of a convolution's weight in the last stage."""
    model.zero_grad()
    with torch.autocast(x.device.type, torch.float16, enabled=autocast):
        last = maps(model(x))[-1]
    last.double().square().mean().backward()
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    grad = convs[-1].weight.grad
    assert grad is not None
    kept = convs[-1].weight != 0
    return grad * kept
