"""What a loss beside a head's own is, and what it sees of the training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads import Head, Regions
from sparse_ovs.heads.matching import Match
from sparse_ovs.text import TextEmbeddings
from sparse_ovs.training.batch import Batch


class Trained(Protocol):
    """What is trained: an Objective, as losses see it."""

    backbone: Backbone
    head: Head
    text: TextEmbeddings


class Extra(nn.Module, ABC):
    """A loss. The mean over the images of one process: of several, each takes its own."""

    @abstractmethod
    def forward(
        self,
        objective: Trained,
        x: Tensor,
        batch: Batch,
        output: Any,
        targets: Sequence[Regions],
        matches: Sequence[Sequence[Match]],
    ) -> Tensor:
        """A weighted scalar.

        Args:
            x: normalised images (N, 3, S, S).
            output: of the head.
            targets, matches: of a mask head, by image, and by point and image; else empty.
        """
