"""Runs of `benchmarks/gpu` whose children are fakes, and rows as steps yield them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gpu_runs
from gpu_runs.runner import Runner
from gpu_runs.step import Step

_CHILD = Path(__file__).parents[1] / "benchmarks" / "gpu" / "fake_child.py"


def _command(step: Step, lines: Path, record: Path, items: Sequence[str]) -> list[str]:
    return [sys.executable, str(_CHILD), str(lines), *items]


def make_runner(out: Path, minutes: float = 1.0) -> Runner:
    """Its children do what the names of their items say."""
    folder = Path(gpu_runs.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return Runner(out, minutes, environment, _command, say=lambda text: None)


def made_of(*items: str, share: float = 1.0, name: str = "step") -> Step:
    """A step of such items, which are thought to take a moment."""
    return Step(name, "module", "asks nothing", dict.fromkeys(items, -9.9), share)


def layer_row(**changes: Any) -> dict[str, Any]:
    """A row of kind `layer`: 64x64 blocks on layer3 conv2, twice as fast as dense."""
    return {
        "kind": "layer",
        "layer": "layer3.1.conv2",
        "count": 5,
        "batch": 1,
        "shape": [256, 256, 3, 3],
        "size": 40,
        "pattern": "block64x64",
        "density": 0.1,
        "arithmetic": "float16",
        "route": "bsr",
        "variant": [64, 64],
        "dense_ms": {"cuDNN": 0.006},
        "best": "cuDNN",
        "ours_ms": 0.003,
        "speedup": [2.0, 1.9, 2.1],
        "error": 1e-4,
        "allowed": 2**-9,
        "right": True,
        "problems": {},
        **changes,
    }


def record_of(*rows: dict[str, Any], finished: bool = True) -> dict[str, Any]:
    """A record of one step with these rows."""
    return {
        "format_version": 1,
        "minutes": 5,
        "machine": {"GPU": "one of tests"},
        "plan": [{"step": "step", "estimate_s": 20.0, "items": 1}],
        "steps": [
            {
                "step": "step",
                "status": "done",
                "seconds": 3.0,
                "items": {"item": {"status": "done", "rows": list(rows)}},
            }
        ],
        "finished": finished,
    }
