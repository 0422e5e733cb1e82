"""What an experiment needs that may not be here: weights, datasets, packages."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sparse_ovs.backbones import create_backbone
from sparse_ovs.data import open_dataset
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.training import build_task, find_recipe, read_toml


def missing(experiment: Experiment, parts: Sequence[str]) -> list[str]:
    """For each thing that is not there, what it is and how it is got.

    Args:
        parts: of the experiment that are wanted: see PARTS of `run`.
    """
    plan = experiment.pruning
    wanted: dict[tuple[str, str], Callable[[], Any]] = {
        ("weights", experiment.pretrained): partial(
            create_backbone, experiment.model, experiment.pretrained
        ),
        ("images for pruning", plan.dataset): partial(
            open_dataset, plan.dataset, None, plan.split, **plan.options
        ),
    }
    if {"transfer", "alpha"} & set(parts):
        recipes = list(experiment.transfer.recipes.values()) if "transfer" in parts else []
        recipes += [experiment.tuning.recipe] if "alpha" in parts else []
        for recipe in recipes:
            data = build_task(read_toml(find_recipe(recipe))).data
            wanted["training data", data.dataset] = partial(
                open_dataset, data.dataset, data.root or None, data.split, **data.options
            )
        for score in experiment.columns().values():
            wanted["test data", score.dataset] = partial(
                open_dataset, score.dataset, None, score.split, **score.options
            )
    for_reason: dict[str, list[str]] = {}
    for (what, name), have in wanted.items():
        try:
            have()
        except (OSError, RuntimeError, ValueError) as error:
            for_reason.setdefault(_lines(error), []).append(f"{what} {name}")
    found = [f"{', '.join(those)}: {reason}" for reason, those in for_reason.items()]
    if importlib.util.find_spec("matplotlib") is None:
        found.append("package matplotlib, for pictures: pip install matplotlib")
    return found


def _lines(error: Exception) -> str:
    return str(error).strip().replace("\n", "\n  ") or type(error).__name__
