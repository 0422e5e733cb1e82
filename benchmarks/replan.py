"""How long an encoder takes to compile, to plan another size, to load from a file; what it holds.

python benchmarks/replan.py [--model RN50] [--density 0.1] [--size 640] [--threads 1]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import nn

import sparse_ovs
from sparse_ovs.engine import compiled as engine
from sparse_ovs.profiling.random_weights import calibrate_random_weights

# Sizes around the first one, none of which was planned before.
_STEPS = (32, -32, 64, -64, 96)


def main() -> None:
    """Prints the times of compiling, loading and planning again, and the memory held."""
    options = _options()
    torch.set_num_threads(options.threads)
    backbone = sparse_ovs.create_backbone(options.model, density=options.density).eval()
    # A fresh encoder's branches have BatchNorms of zero, which fold to empty weights.
    calibrate_random_weights(backbone, torch.randn(1, 3, 64, 64))
    size = options.size
    x = torch.randn(1, 3, size, size)
    parts: dict[str, float] = {}
    with _timed_parts(parts):
        encoder, seconds = _timed(lambda: sparse_ovs.compile(backbone, x, release_dense=True))
    print(f"{options.model} {size}x{size}, density {options.density}, threads: {options.threads}")
    print(f"compile           {seconds:8.2f} s")
    for name, spent in parts.items():
        print(f"  of these {name:20s} {spent:6.2f} s")

    replans = []
    for step in _STEPS:
        other = torch.randn(1, 3, size + step, size)
        replans.append(1e3 * _timed(lambda other=other: encoder.plan_for(other))[1])
    shown = ", ".join(f"{ms:.1f}" for ms in replans)
    print(f"plan another size {median(replans):8.2f} ms (each: {shown})")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan"
        print(f"save              {_timed(lambda: encoder.save(path))[1]:8.2f} s")
        print(f"file              {path.stat().st_size / 1e6:8.2f} MB")
        loaded, seconds = _timed(lambda: sparse_ovs.load_plan(path))
        print(f"load              {seconds:8.2f} s")
        print(f"first run         {1e3 * _timed(lambda: loaded(x))[1]:8.2f} ms")
        print(f"second run        {1e3 * _timed(lambda: loaded(x))[1]:8.2f} ms")

    dense = _weight_bytes(backbone)
    memory = encoder.memory()
    live = len(memory.arena_bytes)
    print(f"dense weights     {dense / 1e6:8.2f} MB")
    for name, held in (("packed", memory.packed_bytes), ("streams", memory.stream_bytes)):
        print(f"{name:17s} {held / 1e6:8.2f} MB, {held / dense:.3f} of dense, {live} live plans")
    print(f"dense kept        {memory.dense_bytes / 1e6:8.2f} MB")
    for shape, held in memory.arena_bytes.items():
        print(f"activations       {held / 1e6:8.2f} MB at {'x'.join(map(str, shape))}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="RN50")
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _timed(run: Callable[[], Any]) -> tuple[Any, float]:
    start = perf_counter()
    made = run()
    return made, perf_counter() - start


@contextmanager
def _timed_parts(spent: dict[str, float]) -> Any:
    """Times what compile is made of, wherever it is called from."""
    parts = {
        "export": (torch.export, "export"),
        "read the graph": (engine, "import_program"),
        "passes": (engine, "optimise"),
        "pack and plan": (engine, "Plan"),
    }
    originals = {name: getattr(*place) for name, place in parts.items()}
    for name, (owner, attribute) in parts.items():
        setattr(owner, attribute, _recorded(name, originals[name], spent))
    try:
        yield
    finally:
        for name, (owner, attribute) in parts.items():
            setattr(owner, attribute, originals[name])


def _recorded(name: str, call: Callable[..., Any], spent: dict[str, float]) -> Callable[..., Any]:
    def recorded(*args: Any, **kwargs: Any) -> Any:
        made, seconds = _timed(lambda: call(*args, **kwargs))
        spent[name] = spent.get(name, 0.0) + seconds
        return made

    return recorded


def _weight_bytes(model: nn.Module) -> int:
    return sum(4 * p.numel() for p in model.parameters() if p.dim() > 1)


if __name__ == "__main__":
    main()
