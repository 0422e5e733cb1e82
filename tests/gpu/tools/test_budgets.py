"""Budgets: what gets worse fails, what gets better passes, updates are explicit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpu.emulation.budgets import UPDATE, Budgets, OverBudget


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(UPDATE, raising=False)
    file = tmp_path / "budgets.json"
    budget = {"figures": {"registers": 64, "sectors": 4.25}, "instructions": ["HMMA", "LDGSTS.128"]}
    file.write_text(json.dumps({"kernel sm_80": budget}))
    return file


FIGURES = {"registers": 64, "sectors": 4.25}
INSTRUCTIONS = ("LDGSTS.128", "HMMA", "FFMA")


def test_the_same_and_better_figures_pass(file: Path) -> None:
    Budgets(file).check("kernel sm_80", FIGURES, INSTRUCTIONS)
    Budgets(file).check("kernel sm_80", {"registers": 60, "sectors": 4}, INSTRUCTIONS)


@pytest.mark.parametrize(
    ("figures", "instructions", "message"),
    [
        ({"registers": 65, "sectors": 4}, INSTRUCTIONS, "expected registers of at most 64, got 65"),
        ({"registers": 64}, INSTRUCTIONS, "sectors is no longer reported"),
        (FIGURES | {"spills": 0}, INSTRUCTIONS, "spills has no budget"),
        (FIGURES, ("HMMA",), "expected LDGSTS.128 in the machine code, got none"),
    ],
)
def test_what_gets_worse_fails(
    file: Path, figures: dict[str, float], instructions: tuple[str, ...], message: str
) -> None:
    before = file.read_text()
    with pytest.raises(OverBudget, match=message):
        Budgets(file).check("kernel sm_80", figures, instructions)
    assert file.read_text() == before


def test_a_variant_without_a_budget_fails(file: Path) -> None:
    with pytest.raises(OverBudget, match=f"kernel sm_90 has no budget; accept it with {UPDATE}=1"):
        Budgets(file).check("kernel sm_90", FIGURES)


def test_an_update_changes_its_own_variant_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = json.loads(file.read_text())
    monkeypatch.setenv(UPDATE, "1")
    Budgets(file).check("kernel sm_90", {"registers": 99, "sectors": 1 / 3}, ("HGMMA",))
    monkeypatch.delenv(UPDATE)
    after = json.loads(file.read_text())
    assert after.pop("kernel sm_90")["figures"] == {"registers": 99, "sectors": 0.333}
    assert after == before
    Budgets(file).check("kernel sm_90", {"registers": 99, "sectors": 1 / 3}, ("HGMMA",))
