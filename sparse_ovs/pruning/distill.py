"""Label-free distillation: a sparse encoder learns the maps and the embedding of the dense one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.pruning.embedding import Embed, frozen_copy, make_embedding_reader


class DistillationLoss(Protocol):
    """What trains a student between rounds: any callable of this shape.

    It returns named scalars; "loss" is the one to minimise, the others are for the log.
    """

    def __call__(self, student: nn.Module, images: Tensor) -> dict[str, Tensor]: ...


class LabelFreeDistillation(nn.Module):
    """Cosine distances between a student's and the dense teacher's maps and pooled embedding.

    loss = sum over maps k of w_k * mean over images and positions of (1 - cos(student, teacher))
           + w_e * mean over images of (1 - cos(student, teacher)).

    The cosine of a map runs over channels at each position: segmentation heads read a map position
    by position, by the direction of its vector; over the whole flattened map the few positions of
    large norm, which CLIP has, would decide alone. Positions where the teacher is zero have no
    direction and count as 0.

    The teacher is a deep copy, always in eval mode and without gradients; training the student
    never touches it. Both embeddings are made by the teacher's pool (see make_embedding_reader),
    with its native positional embedding.

    Args:
        teacher: the dense encoder: a Backbone, or any module images -> list of maps (N, C, H, W).
        map_weights: one for each map, finest first; by default 1 each.
        embedding_weight: of the pooled embedding; 0 leaves the pool out.
        embed: maps -> (N, D), instead of the teacher's own pool.

    Raises:
        ValueError: weights that are negative, not finite or all zero; a backbone whose out_indices
            leave out what its pool needs.
    """

    def __init__(
        self,
        teacher: nn.Module,
        map_weights: Sequence[float] | None = None,
        embedding_weight: float = 1.0,
        embed: Embed | None = None,
    ) -> None:
        super().__init__()
        weights = [] if map_weights is None else list(map_weights)
        if any(not 0 <= w < math.inf for w in [*weights, embedding_weight]):
            raise ValueError(
                f"expected finite weights of at least 0, got {weights} and {embedding_weight}"
            )
        if map_weights is not None and not any([*weights, embedding_weight]):
            raise ValueError("expected a weight above 0, got only zeros")
        self.map_weights = None if map_weights is None else weights
        self.embedding_weight = embedding_weight
        self.reader = make_embedding_reader(teacher, embed) if embedding_weight else None
        self.teacher = frozen_copy(teacher)
        self.train(False)

    def train(self, mode: bool = True) -> LabelFreeDistillation:
        """Stays in eval mode: a teacher in train mode would normalise by the batch and drift."""
        return super().train(False)

    def forward(self, student: nn.Module, images: Tensor) -> dict[str, Tensor]:
        """Scalars "loss" (weighted) and, unweighted, "map0", "map1", ... and "embedding".

        Args:
            student: with the teacher's maps; in the mode that the caller chose.
            images: (N, 3, H, W), as the teacher was trained.

        Raises:
            ValueError: maps of other number or shape than the teacher's, or than map_weights.
        """
        with torch.no_grad():
            expected, target = self._read(self.teacher, images)
        maps, embedding = self._read(student, images)
        _check_maps(maps, expected)
        weights = [1.0] * len(maps) if self.map_weights is None else self.map_weights
        if len(weights) != len(maps):
            raise ValueError(f"expected {len(maps)} map weights, got {len(weights)}")
        terms = {
            f"map{k}": cosine_distance(a, b).mean()
            for k, (a, b) in enumerate(zip(maps, expected, strict=True))
        }
        loss = sum(w * term for w, term in zip(weights, terms.values(), strict=True))
        if embedding is not None and target is not None:
            terms["embedding"] = cosine_distance(embedding, target).mean()
            loss = loss + self.embedding_weight * terms["embedding"]
        return {"loss": torch.as_tensor(loss), **terms}

    def _read(self, model: nn.Module, images: Tensor) -> tuple[list[Tensor], Any]:
        return (list(model(images)), None) if self.reader is None else self.reader(model, images)


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine over dimension 1, the channels: (N, C, ...) -> (N, ...), at least in fp32; 0 where
    the teacher's vector is zero."""
    dtype = torch.promote_types(student.dtype, torch.float32)
    student, teacher = student.to(dtype), teacher.to(dtype)
    distance = 1 - F.cosine_similarity(student, teacher, dim=1)
    return torch.where(teacher.abs().amax(1) > 0, distance, 0.0)


def _check_maps(maps: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    shapes, wanted = [tuple(m.shape) for m in maps], [tuple(m.shape) for m in expected]
    if shapes != wanted:
        raise ValueError(f"expected maps of the teacher's shapes {wanted}, got {shapes}")
