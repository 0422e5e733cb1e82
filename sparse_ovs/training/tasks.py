"""What can be trained, by the name that a file of settings begins with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparse_ovs.training.clip import ClipTraining
from sparse_ovs.training.settings import SegmentationTraining
from sparse_ovs.training.toml_settings import build, describe

TASKS: dict[str, type] = {"segmentation": SegmentationTraining, "clip": ClipTraining}
_DEFAULT = "segmentation"


def build_task(tables: Mapping[str, Any]) -> Any:
    """Settings of the task that `task` names, by default segmentation.

    Raises:
        ValueError: no such task, and as `build`.
    """
    rest = dict(tables)
    task = rest.pop("task", _DEFAULT)
    if task not in TASKS:
        raise ValueError(f"expected a task of {', '.join(TASKS)}, got {task!r}")
    return build(TASKS[task], rest)


def describe_task(settings: Any) -> str:
    """TOML that `build_task` makes the same settings of."""
    task = next(name for name, kind in TASKS.items() if type(settings) is kind)
    return f'task = "{task}"\n{describe(settings)}'
