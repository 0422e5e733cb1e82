"""How much alike two encoders see, stage by stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparse_ovs.pruning.distill import cosine_distance
from sparse_ovs.pruning.embedding import EmbeddingReader, make_embedding_reader


@dataclass(frozen=True)
class Similarity:
    """Mean cosines over images: 1 is the same direction.

    Attributes:
        maps: of each map, over channels at each position, mean over positions.
        embedding: of the pooled embedding.
        images: how many were seen.
    """

    maps: list[float]
    embedding: float
    images: int


def compare_features(
    reference: nn.Module,
    other: nn.Module,
    batches: Iterable[Tensor],
    reader: EmbeddingReader | None = None,
) -> Similarity:
    """Runs both on the same images, in eval mode; both embeddings by the reference's pool.

    Args:
        reference: a Backbone, or any module images -> list of maps.
        other: with maps of the same shapes.
        batches: images (N, 3, H, W), prepared as for the models.
        reader: of the embeddings, instead of the reference's own.

    Raises:
        ValueError: maps of different shapes, or no images.
    """
    reader = reader or make_embedding_reader(reference)
    sums: Tensor | None = None
    images = 0
    modes = [(model, model.training) for model in (reference, other)]
    try:
        for model, _ in modes:
            model.eval()
        with torch.no_grad():
            for batch in batches:
                expected, target = reader(reference, batch)
                maps, embedding = reader(other, batch)
                if [m.shape for m in maps] != [m.shape for m in expected]:
                    raise ValueError(
                        f"expected maps of shapes {[tuple(m.shape) for m in expected]}, "
                        f"got {[tuple(m.shape) for m in maps]}"
                    )
                pairs = zip([*maps, embedding], [*expected, target], strict=True)
                means = [1 - cosine_distance(a, b).double().mean() for a, b in pairs]
                part = torch.stack(means) * len(batch)
                sums = part if sums is None else sums + part
                images += len(batch)
    finally:
        for model, training in modes:
            model.train(training)
    if sums is None:
        raise ValueError("expected at least one batch of images, got none")
    *of_maps, of_embedding = (sums / images).tolist()
    return Similarity(of_maps, of_embedding, images)
