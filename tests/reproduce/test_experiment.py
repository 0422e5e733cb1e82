"""Experiments come from TOML, and every mistake is told."""

from __future__ import annotations

from typing import Any

import pytest

from sparse_ovs.reproduce.encoders import ARMS
from sparse_ovs.reproduce.experiment import SCALES, Experiment, load_experiment
from sparse_ovs.reproduce.run import PARTS, cells_of
from sparse_ovs.reproduce.tuning import RULES
from sparse_ovs.training import build, build_task, find_recipe, override, read_toml


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_is_sound_and_its_recipes_take_its_changes(scale: str) -> None:
    experiment = load_experiment(scale)
    assert experiment.columns()
    for recipe in experiment.transfer.recipes.values():
        build_task(override(read_toml(find_recipe(recipe)), experiment.transfer.changes))
    plan = experiment.tuning
    for part in (plan.first, plan.rest):
        build_task(override(read_toml(find_recipe(plan.recipe)), [*plan.changes, *part]))


def test_mini_has_every_arm_of_every_head_and_density_with_all_seeds() -> None:
    experiment = load_experiment("mini")
    seeds = experiment.seeds
    names = [cell.name for cell in cells_of(experiment)]
    assert len(names) == len(set(names))
    assert sum(name.startswith("encoders/") for name in names) == 1 + 4 * (len(ARMS) - 1) * seeds
    assert sum(name.startswith("transfer/") for name in names) == 3 * len(ARMS) * seeds
    tuned = [n for n in names if n.startswith("tuning/") and "/first/" not in n]
    assert len(tuned) == 2 * len(RULES) * seeds


def test_needs_come_before_what_needs_them() -> None:
    seen: set[str] = set()
    for cell in cells_of(load_experiment("mini")):
        assert seen >= set(cell.needs)
        seen.add(cell.name)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"seeds": 0}, "expected at least 1 seed, got 0"),
        ({"density": 0.2}, "expected densities with 0.2, that of heads, got"),
        ({"scores": {"a": {"data": "x"}}}, "expected scores.a of dataset, split, options, part"),
        ({"scores": {"a": {"part": "few"}}}, "expected a part of seen, unseen, all in scores.a"),
        ({"prunning": {}}, "did you mean pruning?"),
    ],
)
def test_a_mistake_is_told(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        build(Experiment, table)


def test_unknown_scales_and_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a scale of smoke, mini, paper, got 'big'"):
        load_experiment("big")
    with pytest.raises(ValueError, match=f"expected parts of {', '.join(PARTS)}, got speed"):
        cells_of(load_experiment("smoke"), ["speed"])
