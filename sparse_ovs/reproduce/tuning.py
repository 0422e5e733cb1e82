"""Fine-tuning with some layers frozen: by alpha, by the controls, by what the field asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from sparse_ovs.reproduce.cells import Cell, Say, Store
from sparse_ovs.reproduce.encoders import EncoderCell, encoder_cell_name
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.reproduce.trained import cost, load, scores, train
from sparse_ovs.reproduce.transfer import encoder_settings
from sparse_ovs.segmenter import Segmenter
from sparse_ovs.segmenter.files import FILE_NAME
from sparse_ovs.spectral import METRICS, analyse, choose, load_selection, save_selection

FULL = "full"
STATES = ("dense", "sparse")


@dataclass(frozen=True)
class Rule:
    """How an arm's frozen layers are chosen.

    Attributes:
        title: in tables.
        select, how: see `spectral.choose`.
        estimator: of alpha.
        like: the arm whose number of layers, or whose MACs, a random choice has.
    """

    title: str
    select: str = "none"
    how: dict[str, Any] = field(default_factory=dict)
    estimator: str = "mid"
    like: str = ""


RULES = {
    FULL: Rule("nothing frozen"),
    "alpha": Rule("alpha, 50 %", "median"),
    "alpha*": Rule("alpha*, reversed", "reverse"),
    "random": Rule("random, 50 %", "random", like="alpha"),
    "random-macs": Rule(
        "random, the MACs of alpha", "random-macs", {"tolerance": 0.02}, like="alpha"
    ),
    "all-3x3": Rule("all 3 x 3", "all-3x3"),
    "farms": Rule("alpha by FARMS", "median", estimator="farms"),
    "adaptive": Rule("alpha, widest gap", "gap"),
    "ensemble": Rule("ensemble of metrics", "ratio", {"ratio": 0.5, "metrics": METRICS}),
    "alpha25": Rule("alpha, 25 %", "ratio", {"ratio": 0.25}),
    "random25": Rule("random, 25 %", "random", like="alpha25"),
    "alpha75": Rule("alpha, 75 %", "ratio", {"ratio": 0.75}),
    "random75": Rule("random, 75 %", "random", like="alpha75"),
}
"""Arms of the fine-tuning table."""


def selection_file(arm: str) -> str:
    """Name of an arm's file."""
    return f"selection-{arm.replace('*', '-reversed')}.json"


@dataclass(frozen=True)
class FirstCell(Cell):
    """The part in which everything learns; then every rule chooses its layers, once.

    Attributes:
        state: "dense", or "sparse", which is IMP's.
        seed: of the training and of random choices.
    """

    state: str = ""
    seed: int = 0
    kept: ClassVar[tuple[str, ...]] = (FILE_NAME, *(selection_file(a) for a in RULES if a != FULL))

    @classmethod
    def of(cls, state: str, density: float, seed: int) -> FirstCell:
        """The cell, on an encoder of that density where it is sparse."""
        needs = (encoder_cell_name("imp", density, seed),) if state == "sparse" else ()
        return cls(first_cell_name(state, seed), needs, state, seed)

    def run(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        folder, plan = store.folder_of(self.name), experiment.tuning
        changes = [
            *plan.changes,
            *plan.first,
            *encoder_settings(experiment, store, self.needs),
            f"run.seed={self.seed}",
        ]
        made = train(plan.recipe, changes, folder, say)
        say("spectra")
        backbone = Segmenter.from_pretrained(folder).backbone
        size = experiment.image_size
        tables = {
            estimator: analyse(backbone, estimator, torch.zeros(1, 3, size, size))
            for estimator in {rule.estimator for rule in RULES.values()}
        }
        alphas = {row.name: row.alpha for row in tables["mid"].rows}
        source = f"{experiment.model}, after the first part of seed {self.seed}"
        for arm, rule in RULES.items():
            if arm == FULL:
                continue
            like = load_selection(folder / selection_file(rule.like)) if rule.like else None
            chosen = choose(
                tables[rule.estimator], rule.select, source, seed=self.seed, like=like, **rule.how
            )
            save_selection(folder / selection_file(arm), chosen)
        return {**made, "alphas": alphas}


@dataclass(frozen=True)
class TuningCell(Cell):
    """The rest of the training, some layers frozen.

    Attributes:
        state, seed: see FirstCell.
        arm: one of RULES.
    """

    state: str = ""
    arm: str = ""
    seed: int = 0

    @classmethod
    def of(cls, state: str, arm: str, seed: int) -> TuningCell:
        """The cell."""
        needs = (first_cell_name(state, seed),)
        return cls(
            f"tuning/{state}/{arm.replace('*', '-reversed')}/{seed}", needs, state, arm, seed
        )

    def run(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        folder, first = store.folder_of(self.name), store.folder_of(self.needs[0])
        plan = experiment.tuning
        selection = None if self.arm == FULL else first / selection_file(self.arm)
        changes = [
            *plan.changes,
            *plan.rest,
            "model.pretrained=''",
            f"model.checkpoint={json.dumps(str(first))}",
            f"run.seed={self.seed + experiment.seeds}",  # other images than in the first part
            f"encoder.mask={'zeros' if self.state == 'sparse' else ''}",
            f"encoder.selection={json.dumps(str(selection or ''))}",
        ]
        made = train(plan.recipe, changes, folder, say)
        segmenter = load(folder, experiment)
        found = scores(segmenter, experiment, say)
        counted = cost(segmenter, experiment, selection)
        frozen = [] if selection is None else load_selection(selection).frozen
        return {
            **made,
            "scores": found,
            "frozen": frozen,
            "frozen_macs": counted.frozen_share,
            "step_macs": counted.ours().total,
            "step_macs_paper": counted.paper().total,
            "step_macs_encoder": sum(
                one.ours().total for one in counted.layers if one.name.startswith("backbone.")
            ),
        }


def cell_prefix(state: str, arm: str) -> str:
    """Of an arm's cells, whose names end with the seed."""
    return f"tuning/{state}/{arm.replace('*', '-reversed')}/"


def is_tuned(name: str) -> bool:
    """Whether a cell's name is that of an arm."""
    return name.startswith("tuning/") and "/first/" not in name


def first_cell_name(state: str, seed: int) -> str:
    """Of the part in which everything learns."""
    return f"tuning/{state}/first/{seed}"


def tuning_cells(experiment: Experiment) -> list[Cell]:
    """Encoders, first parts, and every arm, seed by seed."""
    made: list[Cell] = []
    for seed in range(experiment.seeds):
        made.append(EncoderCell.of("imp", experiment.density, seed))
        made += [FirstCell.of(state, experiment.density, seed) for state in STATES]
        made += [TuningCell.of(state, arm, seed) for state in STATES for arm in RULES]
    return made
