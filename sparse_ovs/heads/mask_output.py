"""What heads that predict masks give."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Prediction:
    """Of all queries, at one point of the decoder.

    Attributes:
        class_logits: (N, Q, K + 1), the last of "no object".
        mask_logits: (N, Q, h, w).
        class_features: (N, Q, dim), of which class_vectors are made.
        class_vectors: (N, Q, D) of unit length, in CLIP's joint space.
    """

    class_logits: Tensor
    mask_logits: Tensor
    class_features: Tensor
    class_vectors: Tensor


@dataclass(frozen=True)
class MaskOutput:
    """Of a head.

    Attributes:
        points: in training, before the decoder's first layer and after each; else the last alone.
    """

    points: tuple[Prediction, ...]

    @property
    def class_logits(self) -> Tensor:
        """(N, Q, K + 1) of the last point."""
        return self.points[-1].class_logits

    @property
    def mask_logits(self) -> Tensor:
        """(N, Q, h, w) of the last point."""
        return self.points[-1].mask_logits

    @property
    def class_features(self) -> list[Tensor]:
        """(N, Q, dim) by point."""
        return [point.class_features for point in self.points]
