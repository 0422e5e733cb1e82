"""What a step minimises: a head's losses on the encoder's maps, and what else is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads import Head, MaskHead, regions_from_labels
from sparse_ovs.loop import derive_seed
from sparse_ovs.text import TextEmbeddings
from sparse_ovs.training.batch import Batch
from sparse_ovs.training.extra import Extra


class Objective(nn.Module):
    """Batches -> scalars by name, "loss" their weighted sum.

    A module, so that DistributedDataParallel can wrap it; its parameters are what learns.

    Args:
        backbone, head: what is trained.
        text: of the dataset's classes.
        extras: losses beside the head's, by name.
        frozen: whether the encoder stays in eval mode and without gradients.
        frozen_norms: whether its BatchNorm stays as it is, statistics, scales and shifts.
        seed: of what losses draw at random.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        text: TextEmbeddings,
        extras: Mapping[str, Extra],
        frozen: bool,
        frozen_norms: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.text = backbone, head, text
        self.extras = nn.ModuleDict(dict(extras))
        self._frozen, self._frozen_norms, self._seed = frozen, frozen_norms, seed
        if frozen_norms:
            for norm in self._norms():
                norm.requires_grad_(False)
        about: Any = backbone.clip.visual
        for name in ("mean", "std"):
            values = torch.tensor(about.preprocess_cfg[name])[:, None, None]
            self.register_buffer(name, values, persistent=False)
        self.train()

    def train(self, mode: bool = True) -> Objective:
        """The encoder, or its norms, stay in eval mode where they are frozen."""
        super().train(mode)
        if self._frozen:
            self.backbone.eval()
        elif self._frozen_norms:
            for norm in self._norms():
                norm.eval()
        return self

    def _norms(self) -> list[nn.Module]:
        """The encoder's BatchNorms."""
        return [module for module in self.backbone.modules() if isinstance(module, _NormBase)]

    def forward(self, batch: Batch, number: int) -> dict[str, Tensor]:
        """The losses of batch `number`; random numbers depend on it and on an image's place in it
        alone."""
        x = (batch.images.to(self.mean) / 255 - self.mean) / self.std
        with torch.set_grad_enabled(not self._frozen):
            features = self.backbone(x)
        output = self.head(features, self.text)
        draws = [
            torch.Generator().manual_seed(derive_seed(self._seed, "image", number, place))
            for place in range(batch.first_place, batch.first_place + len(x))
        ]
        if not isinstance(self.head, MaskHead):
            losses = self.head.losses(output, batch.labels, draws)
            matches: Sequence[Any] = ()
            targets: Sequence[Any] = ()
        else:
            targets = regions_from_labels(batch.labels)
            matches = self.head.match(output, targets, draws)
            losses = self.head.mask_losses(output, targets, matches, draws)
        for name, extra in self.extras.items():
            losses[name] = extra(self, x, batch, output, targets, matches)
            losses["loss"] = losses["loss"] + losses[name]
        return losses
