"""The arms of the transfer table: the same weights under masks that come from different rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_ovs import pruning
from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.data import open_dataset
from sparse_ovs.loop import DatasetBatches, Report, seed_everything
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.profiling.weight_uses import weight_uses
from sparse_ovs.pruning import SubnetworkSettings, Watcher, find_subnetwork
from sparse_ovs.pruning.rounds import ScheduleName
from sparse_ovs.pruning.subnetwork import Control
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
SCHEDULES: dict[str, ScheduleName | Control] = {
    "oneshot": "oneshot",
    "random-like": "random",
    "random": "uniform",
}
"""Of the arms that are not iterative."""
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
        info = pruning.masks.MaskInfo(
            model=f"{backbone.clip.name} {experiment.pretrained}",
            pattern=pattern,
            criterion="random" if self.arm.startswith("random") else "magnitude global",
            schedule=ARMS[self.arm],
            seed=self.seed,
            weights="original",
        )
        path = store.folder_of(self.name) / MASKS
        pruning.masks.save(path, made, info)
        found = pruning.masks.load(path)
        return {
            "pattern": pattern,
            "density": found.density,
            "densities": found.densities,
            "macs_kept": _macs_kept(backbone, made, experiment.image_size),
        }

    def _masks(
        self, backbone: Backbone, experiment: Experiment, store: Store, pattern: str, say: Say
    ) -> dict[str, Tensor]:
        plan = experiment.pruning
        schedule = SCHEDULES.get(self.arm, "imp")
        like = None
        if self.arm == "random-like":
            like = store.folder_of(mask_cell_name("imp", self.seed)) / MASKS
        settings = SubnetworkSettings(
            schedule=schedule,
            density=None if like else experiment.density,
            like=like,
            pattern=pattern,
            iters_per_round=plan.iters_per_round if schedule == "imp" else 0,
            lr=plan.lr,
            seed=self.seed,
        )
        batches = None
        if settings.trains:
            dataset = open_dataset(plan.dataset, None, plan.split, **plan.options)
            crops = Crops(dataset, CropSettings(plan.crop))
            batches = Images(DatasetBatches(crops, plan.batch, self.seed), backbone)
        found = find_subnetwork(
            settings,
            backbone,
            batches,
            folder=store.folder_of(self.name) / "run",
            resume=True,
            watcher=_Said(say),
        )
        return found.masks


class _Said(Watcher):
    """Says which step of training is done."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def training(self) -> AbstractContextManager[Callable[[Report], None]]:
        return nullcontext(lambda at: self._say(f"{at.step} of {at.steps}"))


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
