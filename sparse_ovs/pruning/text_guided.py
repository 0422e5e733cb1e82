"""Text-guided distillation, for training an encoder together with an open-vocabulary head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TextGuidedDistillation(nn.Module):
    """Matched queries learn frozen CLIP's view of their regions, and their similarities CLIP's
    similarities of the regions' class names (OpenTrans, arXiv 2404.07448, section 3.2).

    For the n matched pairs of query and region of one image, all vectors of unit length:
    V_i = W q_i of the query, C_i of the region's crop (see region_crops), T_i of the class name,

        R_ij = (s^2 T_i . T_j - V_i . C_j)^2 for all i, j;    d_i = |V_i - C_i|^2.

    The loss of one prediction layer is the mean over all R_ij and d_i of all images together; the
    layers' losses are summed and weighed.

    Args:
        layers: number of prediction layers that are supervised: the last and the auxiliary ones.
        query_dim: width of a query feature.
        embed_dim: width of CLIP's joint embedding.
        weight: of the whole loss.

    Attributes:
        projections: W, one linear map without bias for each prediction layer.
        scale: s, a learned scalar for all layers, 1 at first.

    Raises:
        ValueError: a size below 1, or a negative weight.
    """

    def __init__(
        self, layers: int = 10, query_dim: int = 256, embed_dim: int = 1024, weight: float = 2.0
    ) -> None:
        super().__init__()
        if min(layers, query_dim, embed_dim) < 1 or not weight >= 0:
            raise ValueError(
                "expected sizes of at least 1 and a weight of at least 0, got "
                f"layers={layers}, query_dim={query_dim}, embed_dim={embed_dim}, weight={weight}"
            )
        self.weight = weight
        self.projections = nn.ModuleList(
            nn.Linear(query_dim, embed_dim, bias=False) for _ in range(layers)
        )
        self.scale = nn.Parameter(torch.ones(()))

    def forward(
        self,
        queries: Sequence[Sequence[Tensor]],
        crops: Sequence[Tensor],
        texts: Sequence[Tensor],
    ) -> Tensor:
        """The weighted loss, a scalar; 0 with gradients of 0 for a batch without any pair.

        Args:
            queries: by prediction layer, by image: class features (n, query_dim) of the matched
                queries, in the order of the image's regions, whichever query each layer matched.
            crops: by image: CLIP's embeddings (n, embed_dim) of the regions' crops, not normalised
                or normalised alike; no gradient flows into them.
            texts: by image: CLIP's embeddings (n, embed_dim) of the regions' class names, likewise.

        Raises:
            ValueError: another number of layers, images or pairs, or other widths.
        """
        _check_shapes(self.projections, queries, crops, texts)
        terms = [
            self._layer_loss(projection, layer, crops, texts)
            for projection, layer in zip(self.projections, queries, strict=True)
        ]
        return self.weight * torch.stack(terms).sum()

    def _layer_loss(
        self,
        projection: nn.Module,
        queries: Sequence[Tensor],
        crops: Sequence[Tensor],
        texts: Sequence[Tensor],
    ) -> Tensor:
        values = []
        for query, crop, text in zip(queries, crops, texts, strict=True):
            student = _unit(projection(query))
            # Under autocast the similarities would be rounded to 3 digits before they are squared.
            with torch.autocast(student.device.type, enabled=False):
                teacher, names = _unit(crop.detach()), _unit(text.detach())
                relations = self.scale**2 * names @ names.T - student @ teacher.T  # (n, n)
                values += [relations.square().flatten(), (student - teacher).square().sum(1)]
        pooled = torch.cat(values)
        # A mean over nothing is NaN; the empty sum is 0 and leaves every parameter a gradient of 0.
        return pooled.mean() if pooled.numel() else pooled.sum()


def _unit(rows: Tensor) -> Tensor:
    """Rows of length 1, at least in fp32."""
    return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=1)


def _check_shapes(
    projections: nn.ModuleList,
    queries: Sequence[Sequence[Tensor]],
    crops: Sequence[Tensor],
    texts: Sequence[Tensor],
) -> None:
    if len(queries) != len(projections):
        raise ValueError(f"expected queries of {len(projections)} layers, got {len(queries)}")
    if not crops:
        raise ValueError("expected at least one image, got none")
    projection = projections[0]
    assert isinstance(projection, nn.Linear)
    wanted = [(len(crop), projection.out_features) for crop in crops]
    _check_list("crop embeddings", crops, wanted)
    _check_list("text embeddings", texts, wanted)
    for index, layer in enumerate(queries):
        _check_list(
            f"queries of layer {index}", layer, [(n, projection.in_features) for n, _ in wanted]
        )


def _check_list(what: str, tensors: Sequence[Tensor], shapes: list[tuple[int, int]]) -> None:
    found = [tuple(tensor.shape) for tensor in tensors]
    if found != shapes:
        raise ValueError(f"expected {what} of shapes {shapes}, got {found}")
