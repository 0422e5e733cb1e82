"""Transfer: one subnetwork in several heads, beside those that it has to beat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sparse_ovs.reproduce.cells import Cell, Say, Store
from sparse_ovs.reproduce.encoders import ARMS, CLIP, DENSE, EncoderCell, encoder_cell_name
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.reproduce.trained import cost, load, parameters, scores, train
from sparse_ovs.segmenter.files import FILE_NAME


@dataclass(frozen=True)
class TransferCell(Cell):
    """One head on one arm's encoder, trained and scored.

    Attributes:
        head: whose recipe is taken.
        arm: one of ARMS.
        seed: of the training and of the encoder.
    """

    head: str = ""
    arm: str = ""
    seed: int = 0
    kept: ClassVar[tuple[str, ...]] = (FILE_NAME,)

    @classmethod
    def of(cls, head: str, arm: str, density: float, seed: int) -> TransferCell:
        """The cell, on the arm's encoder of that density."""
        needs = () if arm == DENSE else (encoder_cell_name(arm, density, seed),)
        return cls(f"transfer/{head}/{arm}/{seed}", needs, head, arm, seed)

    def run(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        folder = store.folder_of(self.name)
        changes = [
            *experiment.transfer.changes,
            *encoder_settings(experiment, store, self.needs),
            f"run.seed={self.seed}",
        ]
        recipe = experiment.transfer.recipes[self.head]
        made = train(recipe, changes, folder, say)
        segmenter = load(folder, experiment)
        found = scores(segmenter, experiment, say)
        counted = cost(segmenter, experiment)
        return {
            **made,
            "scores": found,
            **parameters(segmenter),
            "macs": counted.ours().forward,
            "macs_dense": counted.ours(sparse=False).forward,
        }


def encoder_settings(experiment: Experiment, store: Store, needs: Sequence[str]) -> list[str]:
    """Of a recipe: the encoder of the one cell that is needed, whose zeros stay, or, where none is,
    the dense one."""
    if not needs:
        model, weights = experiment.model, experiment.pretrained
    else:
        record = store.read(needs[0])
        assert record is not None
        model, weights = record["model"], str(store.folder_of(needs[0]) / CLIP)
    return [
        f"model.backbone={json.dumps(model)}",
        f"model.pretrained={json.dumps(weights)}",
        f"encoder.mask={'zeros' if needs else ''}",
    ]


def transfer_cells(experiment: Experiment) -> list[Cell]:
    """Encoders first, then every head on every arm, seed by seed."""
    made: list[Cell] = []
    density = experiment.density
    for seed in range(experiment.seeds):
        made += [EncoderCell.of(arm, density, seed) for arm in ARMS if arm != DENSE]
        made += [
            TransferCell.of(head, arm, density, seed)
            for head in experiment.transfer.recipes
            for arm in ARMS
        ]
    return made
