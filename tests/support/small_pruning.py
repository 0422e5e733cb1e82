"""A small iterative pruning run with label-free distillation, for tests that kill and resume it."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from sparse_ovs import create_backbone
from sparse_ovs.loop import DatasetBatches
from sparse_ovs.pruning.distill import LabelFreeDistillation
from sparse_ovs.pruning.goals import DensityGoal
from sparse_ovs.pruning.rounds import RoundSettings
from sparse_ovs.pruning.run import TrainSettings, prune_and_train

LAYERS = ["conv1", "conv2"]
DENSITY, ITERS, ROUNDS, RN50_ROUNDS = 0.35, 3, 11, 4
Reports = Connection | None


class Net(nn.Module):
    """Two maps, a BatchNorm between them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, stride=2)
        self.norm = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 16, 3, stride=2)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.norm(self.conv1(x)).relu()
        return [x, self.conv2(x)]


class Noise(Dataset[Tensor]):
    """Images that are drawn at every access, as augmentation does."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, item: int) -> Tensor:
        return torch.randn(3, 32, 32) + item


def make_net() -> Net:
    torch.manual_seed(3)
    return Net()


def prune(
    net: nn.Module, layers: list[str], rounds: RoundSettings, folder: Path | None, reports: Reports
) -> dict[str, Tensor]:
    """Runs or resumes it to the end; sends the number of each step done."""
    torch.set_num_threads(1)
    return prune_and_train(
        net,
        layers,
        "unstructured",
        DensityGoal(DENSITY),
        rounds,
        DatasetBatches(Noise(), 4, seed=5),
        LabelFreeDistillation(net),
        TrainSettings(ITERS, lr=1e-2, seed=6, checkpoint_every=4),
        folder=folder,
        resume=True,
        report=None if reports is None else lambda report: reports.send(report.step),
    )


def prune_small(folder: Path, reports: Reports = None) -> None:
    """As `prune`, a small network; weights and masks go to `result.pt`."""
    net = make_net()
    _save(net, prune(net, LAYERS, RoundSettings("imp"), folder, reports), folder)


def prune_rn50(folder: Path, reports: Reports = None) -> None:
    """As `prune_small`, CLIP's RN50."""
    torch.manual_seed(3)
    net = create_backbone("RN50")
    masks = prune(net, net.scope(), RoundSettings("gradual", RN50_ROUNDS), folder, reports)
    _save(net, masks, folder)


def _save(net: nn.Module, masks: dict[str, Tensor], folder: Path) -> None:
    torch.save({"net": net.state_dict(), "masks": masks}, folder / "result.pt")
