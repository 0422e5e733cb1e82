"""The arms of the transfer table: the same weights under masks that come from different rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.data import open_dataset
from sparse_ovs.loop import DatasetBatches, seed_everything
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.profiling.weight_uses import weight_uses
from sparse_ovs.pruning import masks as mask_files
from sparse_ovs.pruning.controls import random_masks_like, uniform_random_masks
from sparse_ovs.pruning.distill import LabelFreeDistillation
from sparse_ovs.pruning.goals import DensityGoal
from sparse_ovs.pruning.rounds import RoundSettings
from sparse_ovs.pruning.run import TrainSettings, prune, prune_and_train
from sparse_ovs.reproduce.cells import Cell, Say, Store
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.training.crops import Crops, CropSettings

DENSE = "dense"
ARMS = {
    DENSE: "dense",
    "imp": "IMP",
    "oneshot": "one-shot magnitude",
    "random-like": "random, IMP's layer densities",
    "random": "random, uniform",
    "imp4x1": "IMP, blocks of 4 x 1",
}
"""What tables call them."""
PATTERNS = {"imp4x1": "block4x1"}
MASKS = "masks.safetensors"


def mask_cell_name(arm: str, seed: int) -> str:
    """Of the cell that makes an arm's masks."""
    return f"masks/{arm}/{seed}"


@dataclass(frozen=True)
class MaskCell(Cell):
    """Masks of one arm and seed. Only the masks are kept: all arms train the original weights.

    Attributes:
        arm: one of ARMS, but for the dense one.
        seed: of random masks, and of the training between rounds.
    """

    arm: str = ""
    seed: int = 0
    kept: ClassVar[tuple[str, ...]] = (MASKS,)

    @classmethod
    def of(cls, arm: str, seed: int) -> MaskCell:
        """The cell; random masks that are like IMP's need those."""
        needs = (mask_cell_name("imp", seed),) if arm == "random-like" else ()
        return cls(mask_cell_name(arm, seed), needs, arm, seed)

    def run(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        seed_everything(self.seed)
        backbone = create_backbone(experiment.model, experiment.pretrained)
        pattern = PATTERNS.get(self.arm, "unstructured")
        made = self._masks(backbone, experiment, store, pattern, say)
        info = mask_files.MaskInfo(
            model=f"{backbone.clip.name} {experiment.pretrained}",
            pattern=pattern,
            criterion="random" if self.arm.startswith("random") else "magnitude global",
            schedule=ARMS[self.arm],
            seed=self.seed,
            weights="original",
        )
        path = store.folder_of(self.name) / MASKS
        mask_files.save(path, made, info)
        found = mask_files.load(path)
        return {
            "pattern": pattern,
            "density": found.density,
            "densities": found.densities,
            "macs_kept": _macs_kept(backbone, made, experiment.image_size),
        }

    def _masks(
        self, backbone: Backbone, experiment: Experiment, store: Store, pattern: str, say: Say
    ) -> dict[str, Tensor]:
        scope, goal = backbone.scope(), DensityGoal(experiment.density)
        if self.arm == "oneshot":
            return prune(backbone, scope, pattern, goal, RoundSettings("oneshot"))
        if self.arm == "random":
            shapes = {n: tuple(w.shape) for n, w in named_weights(backbone, scope).items()}
            return uniform_random_masks(shapes, density=experiment.density, seed=self.seed)
        if self.arm == "random-like":
            like = store.folder_of(mask_cell_name("imp", self.seed)) / MASKS
            fitted = mask_files.apply(backbone, mask_files.load(like).masks)
            return random_masks_like(fitted, seed=self.seed)
        plan = experiment.pruning
        dataset = open_dataset(plan.dataset, None, plan.split, **plan.options)
        batches = DatasetBatches(Crops(dataset, CropSettings(plan.crop)), plan.batch, self.seed)
        return prune_and_train(
            backbone,
            scope,
            pattern,
            goal,
            RoundSettings("imp"),
            Images(batches, backbone),
            LabelFreeDistillation(backbone),
            TrainSettings(plan.iters_per_round, lr=plan.lr, seed=self.seed),
            folder=store.folder_of(self.name) / "run",
            resume=True,
            report=lambda at: say(f"{at.step} of {at.steps}"),
        )


class Images:
    """The images of batches of `Crops`, prepared as for the encoder."""

    def __init__(self, batches: DatasetBatches, backbone: Backbone) -> None:
        self._batches, self.batch_size = batches, batches.batch_size
        self._normalize: Any = backbone.preprocess.transforms[-1]  # type: ignore[attr-defined]

    def start(self, first: int) -> Iterator[Tensor]:
        """See `Batches`."""
        return (self._normalize(items["image"] / 255) for items in self._batches.start(first))

    def describe(self) -> dict[str, Any]:
        """See `Batches`."""
        return self._batches.describe()


def _macs_kept(backbone: Backbone, masks: dict[str, Tensor], size: int) -> float:
    """Fraction of the MACs in scope that the masks leave."""
    weights = named_weights(backbone, backbone.scope())
    uses = weight_uses(backbone, torch.zeros(1, 3, size, size), weights)
    kept = sum(uses[name] * int(mask.sum()) for name, mask in masks.items())
    return kept / sum(uses[name] * weight.numel() for name, weight in weights.items())
