"""Prunes the tiny CLIP to density 0.1: python prune.py FOLDER; run again, it goes on."""

import sys
from pathlib import Path

import torch

import sparse_ovs
from sparse_ovs.cli.console import err
from sparse_ovs.data import Scenes
from sparse_ovs.evaluation import zero_shot_accuracy
from sparse_ovs.loop import GeneratedBatches, progress_bar
from sparse_ovs.pruning import masks
from sparse_ovs.pruning.distill import LabelFreeDistillation
from sparse_ovs.pruning.goals import DensityGoal
from sparse_ovs.pruning.recalibrate import recalibrate_batch_norm
from sparse_ovs.pruning.rounds import RoundSettings
from sparse_ovs.pruning.run import TrainSettings, prune_and_train

BATCH = 16
MODEL, TAG = "scenes-RN50", "scenes"


def main(folder: Path, density: float, iters_per_round: int, recalibration: int) -> None:
    """Prunes it in rounds, writes masks and trunk, and says what is left of its knowledge."""
    backbone = sparse_ovs.create_backbone(MODEL, TAG)
    scenes = Scenes("train", size=128, count=10**9)
    normalize = backbone.preprocess.transforms[-1]

    def images(number: int) -> torch.Tensor:
        pixels = [scenes.scene(number * BATCH + k).pixels for k in range(BATCH)]
        return torch.stack([normalize(torch.from_numpy(p).permute(2, 0, 1) / 255) for p in pixels])

    with progress_bar(err, "prune", ("density",)) as report:
        found = prune_and_train(
            backbone,
            backbone.scope(),
            "unstructured",
            DensityGoal(density),
            RoundSettings("imp"),
            GeneratedBatches(images, BATCH),
            LabelFreeDistillation(backbone),
            TrainSettings(iters_per_round, lr=1e-3),
            folder=folder,
            resume=True,
            report=report,
        )
    recalibrate_batch_norm(backbone, (images(number) for number in range(recalibration)))
    info = masks.MaskInfo(
        model=f"{MODEL} {TAG}",
        pattern="unstructured",
        criterion="magnitude global",
        schedule=f"iterative 0.1, {iters_per_round} steps a round",
        seed=0,
        weights="trained",
    )
    masks.save(folder / "masks.safetensors", found, info)
    sparse_ovs.sparsify(backbone, "unstructured", None, masks=found)
    sparse_ovs.save(backbone, folder / "trunk.safetensors")
    for split in ("val-seen", "val-unseen"):
        print(f"zero-shot accuracy, {split}: {zero_shot_accuracy(backbone, split):.1%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), density=0.1, iters_per_round=20, recalibration=20)
