"""Training steps of RN50's trunk, dense and sparse, whole and with the authors' layers frozen."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_ovs.backbones import create_backbone
from sparse_ovs.nn import SparseConv2d, densify
from sparse_ovs.spectral import freeze
from sparse_ovs.spectral.controls import AUTHORS

BASELINE = "dense"
# Arm: profile of densities, run by sparse kernels, the authors' layers frozen with their norms.
STEP_ARMS = {
    BASELINE: ("uniform", False, False),
    "dense, frozen": ("uniform", False, True),
    "sparse": ("uniform", True, False),
    "sparse, frozen": ("uniform", True, True),
    "trained profile": ("trained", True, False),
    "trained profile, frozen": ("trained", True, True),
}


class TrainingStep:
    """A model at density 0.1 and its optimiser; calling it takes one step: forward, loss, backward
    and SGD with momentum. The dense arms multiply their weights by the masks after each step: the
    cheapest way to keep them sparse in torch.

    Args:
        arm: one of STEP_ARMS.
        size: of the images, pixels.
        batch: images.
    """

    def __init__(self, arm: str, size: int, batch: int) -> None:
        profile, sparse, frozen = STEP_ARMS[arm]
        torch.manual_seed(0)
        self.model = create_backbone("RN50", density=0.1, profile=profile, fold_bn="eval")
        self.x = torch.randn(batch, 3, size, size)
        self.kept: list[tuple[Tensor, Tensor]] = []
        if not sparse:
            layers = [m for m in self.model.modules() if isinstance(m, SparseConv2d)]
            self.kept = [(layer.weight, layer.mask.float()) for layer in layers]
            densify(self.model)
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.model.train()
        if frozen:
            freeze(self.model, AUTHORS, norms=True)
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.SGD(learning, lr=1e-3, momentum=0.9)
        # What is frozen needs no mask.
        self.kept = [(weight, mask) for weight, mask in self.kept if weight.requires_grad]

    def __call__(self) -> None:
        self.optimiser.zero_grad()
        loss = torch.stack([y.square().mean() for y in self.model(self.x)]).sum()
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            for weight, mask in self.kept:
                weight.mul_(mask)
