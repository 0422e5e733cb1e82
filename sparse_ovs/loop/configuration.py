"""What decides a run's numbers, as plain JSON, and how two of them differ."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from sparse_ovs.loop.schedules import Schedule


def describe_schedule(schedule: Schedule) -> dict[str, Any]:
    """Its name and its fields."""
    return {"name": type(schedule).__name__, **dataclasses.asdict(schedule)}


def describe_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """Its name, and each parameter group's options and number of parameters."""
    groups = []
    for group in optimizer.param_groups:
        options = {key: _plain(value) for key, value in group.items() if key != "params"}
        groups.append({**options, "params": len(group["params"])})
    return {"name": type(optimizer).__name__, "groups": groups}


def as_json(config: Any) -> Any:
    """The configuration as JSON holds it: tuples become lists.

    Raises:
        TypeError: something that JSON does not hold.
    """
    try:
        return json.loads(json.dumps(config))
    except TypeError as error:
        raise TypeError(f"expected a JSON-able configuration, got {error}") from error


def differences(saved: Any, present: Any, place: str = "") -> list[str]:
    """One line for each leaf in which two configurations differ, e.g. `seed: 1, not 2`, the saved
    one first."""
    if isinstance(saved, dict) and isinstance(present, dict):
        found = []
        for key in [*saved, *(key for key in present if key not in saved)]:
            inside = f"{place}.{key}" if place else key
            if key not in saved:
                found.append(f"{inside}: absent, not {present[key]!r}")
            elif key not in present:
                found.append(f"{inside}: {saved[key]!r}, not absent")
            else:
                found += differences(saved[key], present[key], inside)
        return found
    if isinstance(saved, list) and isinstance(present, list) and len(saved) == len(present):
        pairs = enumerate(zip(saved, present, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{place}[{i}]")]
    return [] if saved == present else [f"{place}: {saved!r}, not {present!r}"]


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value
