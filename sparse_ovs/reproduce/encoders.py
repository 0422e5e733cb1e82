"""The arms: one encoder pruned by different rules, each repaired with the same steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.compression import compress
from sparse_ovs.loop import Batches, Cosine, Loop, LoopSettings, Report, seed_everything
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.profiling.weight_uses import weight_uses
from sparse_ovs.pruning import (
    FixedMasks,
    MaskInfo,
    SubnetworkSettings,
    Watcher,
    find_subnetwork,
    iterative,
    masks,
    unit_counts,
)
from sparse_ovs.pruning.criteria import density_of
from sparse_ovs.pruning.distill import DistillationLoss, LabelFreeDistillation
from sparse_ovs.pruning.recalibrate import recalibrate_batch_norm
from sparse_ovs.pruning.rounds import ScheduleName
from sparse_ovs.pruning.subnetwork import Control
from sparse_ovs.reproduce.cells import Cell, Say, Store
from sparse_ovs.reproduce.experiment import Experiment, PruningPlan
from sparse_ovs.reproduce.images import first_images, unlabelled
from sparse_ovs.reproduce.naming import name_things
from sparse_ovs.training.clip import save_clip

DENSE = "dense"
ARMS = {
    DENSE: "dense",
    "imp": "IMP",
    "oneshot": "one-shot magnitude",
    "obs": "one-shot OBS",
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
"""Of the arms that are neither iterative nor OBS."""
MASKS, CLIP = "masks.safetensors", "clip.safetensors"


def encoder_prefix(arm: str, density: float) -> str:
    """Of the cells that make an arm's encoders, whose names end with the seed."""
    return f"encoders/{arm}/{density:g}/"


def encoder_cell_name(arm: str, density: float, seed: int) -> str:
    """Of the cell that makes an arm's encoder."""
    return f"{encoder_prefix(arm, density)}{seed}"


@dataclass(frozen=True)
class EncoderCell(Cell):
    """An encoder of one arm, density and seed: pruned, repaired, and what it names before and
    after. The files are its masks and the whole CLIP with zeros in its image tower.

    Attributes:
        arm: one of ARMS; the dense one is only scored, and its density is 1.
        density: kept fraction of the weights in scope.
        seed: of random masks, of images and of training.
    """

    arm: str = ""
    density: float = 1.0
    seed: int = 0
    kept: ClassVar[tuple[str, ...]] = (CLIP, MASKS)

    @classmethod
    def of(cls, arm: str, density: float, seed: int) -> EncoderCell:
        """The cell; random masks that are like IMP's need those."""
        needs = (encoder_cell_name("imp", density, seed),) if arm == "random-like" else ()
        return cls(encoder_cell_name(arm, density, seed), needs, arm, density, seed)

    def run(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        seed_everything(self.seed)
        backbone = create_backbone(experiment.model, experiment.pretrained)
        # Convolutions of few channels learn faster so than by sparse kernels.
        backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        folder, plan = store.folder_of(self.name), experiment.pruning
        if self.arm == DENSE:
            save_clip(backbone.clip.model, folder / CLIP, {})
            return {"model": backbone.clip.name, "names": name_things(backbone, experiment)}
        batches = unlabelled(plan, backbone, self.seed)
        dense = LabelFreeDistillation(backbone)
        say("prune")
        pattern = PATTERNS.get(self.arm, "unstructured")
        found, steps = self._prune(backbone, pattern, plan, batches, store, say)
        masks.save(
            folder / MASKS,
            found,
            MaskInfo(backbone.clip.name, pattern, ARMS[self.arm], "", self.seed, "trained"),
        )
        # OBS solved for BatchNorm's statistics as they are: with others its weights are worth less.
        solved = self.arm == "obs"
        if not solved:
            recalibrate_batch_norm(backbone, first_images(batches, plan.norm_images))
        before = name_things(backbone, experiment)
        backbone.train(not solved)
        repair(backbone, found, dense, batches, plan.steps - steps, plan.lr, folder, say)
        backbone.eval()
        about = {"arm": self.arm, "density": self.density, "seed": self.seed}
        save_clip(backbone.clip.model, folder / CLIP, about)
        made: dict[str, Any] = {} if self.seed else {"densities": _densities(found)}
        return {
            **made,
            "model": backbone.clip.name,
            "pattern": pattern,
            "density": density_of(found),
            "macs_kept": _macs_kept(backbone, found, experiment.image_size),
            "names_before": before,
            "names": name_things(backbone, experiment),
        }

    def _prune(
        self,
        backbone: Backbone,
        pattern: str,
        plan: PruningPlan,
        batches: Batches,
        store: Store,
        say: Say,
    ) -> tuple[dict[str, Tensor], int]:
        """Prunes in place; masks, and how many steps of training that took."""
        if self.arm == "obs":
            images = torch.cat(first_images(batches, plan.obs_images))
            made = compress(
                backbone, images, density=self.density, pattern=pattern, baselines=("eager",)
            )
            backbone.load_state_dict(made.module.state_dict())
            return dict(made.masks), 0
        options: dict[str, Any] = {"pattern": pattern, "lr": plan.lr, "seed": self.seed}
        if self.needs:
            options["like"] = store.folder_of(self.needs[0]) / MASKS
        else:
            options["density"] = self.density
        steps = 0
        if (schedule := SCHEDULES.get(self.arm, "imp")) == "imp":
            units = unit_counts(named_weights(backbone, backbone.scope()), pattern)
            rounds = len(iterative(sum(units.values()), density=self.density))
            options["iters_per_round"] = max(1, plan.steps // 2 // rounds)
            steps = rounds * options["iters_per_round"]
        found = find_subnetwork(
            SubnetworkSettings(schedule=schedule, **options),
            backbone,
            batches,
            folder=store.folder_of(self.name) / "rounds",
            resume=True,
            watcher=_Said(say),
        )
        return found.masks, steps


class _Said(Watcher):
    """Says which step of training is done."""

    def __init__(self, say: Say) -> None:
        self._say = say

    def training(self) -> AbstractContextManager[Callable[[Report], None]]:
        return nullcontext(lambda at: self._say(f"{at.step} of {at.steps}"))


def repair(
    backbone: Backbone,
    found: Mapping[str, Tensor],
    loss: DistillationLoss,
    batches: Batches,
    steps: int,
    lr: float,
    folder: Path,
    say: Say,
) -> None:
    """What the masks keep learns the dense encoder's maps and embedding, in place; BatchNorm's
    statistics follow in train mode. A killed repair goes on."""
    fixed = FixedMasks(backbone, found)
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=lr, weight_decay=0.0)
    fixed.attach(optimizer)
    try:
        Loop(
            backbone,
            optimizer,
            lambda images, _: loss(backbone, images),
            batches,
            LoopSettings(
                steps=steps, clip_norm=1.0, schedule=Cosine(steps=steps, warmup=min(20, steps - 1))
            ),
            folder=folder / "repair",
            report=lambda at: say(f"repair {at.step} of {at.steps}"),
        ).run(resume=True)
    finally:
        fixed.remove()


def encoder_cells(experiment: Experiment) -> list[Cell]:
    """Every arm at every density, seed by seed; the dense one once, for it has no seed."""
    made: list[Cell] = [EncoderCell.of(DENSE, 1.0, 0)]
    for seed in range(experiment.seeds):
        for density in experiment.densities:
            made += [EncoderCell.of(arm, density, seed) for arm in ARMS if arm != DENSE]
    return made


def _densities(found: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(mask.float().mean()) for name, mask in found.items()}


def _macs_kept(backbone: Backbone, found: Mapping[str, Tensor], size: int) -> float:
    """Fraction of the MACs in scope that the masks leave."""
    weights = named_weights(backbone, backbone.scope())
    uses = weight_uses(backbone, torch.zeros(1, 3, size, size), weights)
    kept = sum(uses[name] * int(mask.sum()) for name, mask in found.items())
    return kept / sum(uses[name] * weight.numel() for name, weight in weights.items())
