"""Transfer: one subnetwork in several heads, beside the masks that it has to beat."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from sparse_ovs.reproduce.cells import Cell, Say, Store
from sparse_ovs.reproduce.encoders import ARMS, DENSE, MASKS, MaskCell, mask_cell_name
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.reproduce.trained import cost, load, parameters, scores, train
from sparse_ovs.segmenter.files import FILE_NAME


@dataclass(frozen=True)
class TransferCell(Cell):
    """One head on one arm's encoder, trained and scored.

    Attributes:
        head: whose recipe is taken.
        arm: one of ARMS.
        seed: of the training; and of the masks, where they have one.
    """

    head: str = ""
    arm: str = ""
    seed: int = 0
    kept: ClassVar[tuple[str, ...]] = (FILE_NAME,)

    @classmethod
    def of(cls, head: str, arm: str, seed: int) -> TransferCell:
        """The cell."""
        needs = () if arm == DENSE else (mask_cell_name(arm, seed),)
        return cls(f"transfer/{head}/{arm}/{seed}", needs, head, arm, seed)

    def run(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        folder = store.folder_of(self.name)
        mask = "" if self.arm == DENSE else str(store.folder_of(self.needs[0]) / MASKS)
        changes = [
            *experiment.transfer.changes,
            f"model.backbone={json.dumps(experiment.model)}",
            f"model.pretrained={json.dumps(experiment.pretrained)}",
            f"run.seed={self.seed}",
            f"encoder.mask={json.dumps(mask)}",
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


def transfer_cells(experiment: Experiment) -> list[Cell]:
    """Masks first, then every head on every arm, seed by seed."""
    made: list[Cell] = []
    for seed in range(experiment.seeds):
        made += [MaskCell.of(arm, seed) for arm in ARMS if arm != DENSE]
        made += [
            TransferCell.of(head, arm, seed) for head in experiment.transfer.recipes for arm in ARMS
        ]
    return made
