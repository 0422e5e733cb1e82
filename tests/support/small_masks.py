"""A head that predicts the masks and classes that it was told, whatever the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads import Head
from sparse_ovs.text import TextEmbeddings


@dataclass(frozen=True)
class Told:
    """(1, Q, K + 1) probabilities and (1, Q, h, w) logits."""

    probabilities: Tensor
    mask_logits: Tensor


class ToldMasks(Head):
    name = "told"
    probabilities = True
    learns = False

    @classmethod
    def needed_indices(cls, backbone: Backbone) -> tuple[int, ...]:
        return (4,)

    def __init__(self, backbone: Backbone, probabilities: Tensor, masks: Tensor) -> None:
        super().__init__(backbone)
        self.told = Told(probabilities[None], masks[None])
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, features: Sequence[Tensor], text: TextEmbeddings) -> Told:
        return self.told

    def class_probabilities(self, output: Told) -> Tensor:
        return output.probabilities

    def predict(self, output: Told) -> Tensor:
        masks = output.mask_logits.sigmoid()
        return torch.einsum("nqk,nqhw->nkhw", output.probabilities[..., :-1], masks)

    def losses(
        self, output: Told, labels: Tensor, draws: Sequence[torch.Generator] | None = None
    ) -> dict[str, Tensor]:
        raise NotImplementedError
