"""Sizes of the heads that predict masks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sparse_ovs.heads.sizes import Sizes

NORM_GROUPS = 32  # of every GroupNorm


@dataclass(frozen=True)
class MaskSizes(Sizes):
    """What the pixel decoder and the transformer decoder are made of.

    Attributes:
        dim: channels of maps, queries and mask embeddings; a multiple of 32.
        queries: masks that are predicted.
        heads: of all attentions; they divide dim.
        pixel_layers: deformable attention layers of the pixel decoder.
        points: that a deformable attention samples by head and level.
        pixel_ffn: hidden width of these layers' feed-forward networks.
        decoder_layers: of the transformer decoder; masks are predicted before the first and after
            each.
        ffn: hidden width of these layers' feed-forward networks.
        from_clip: a query's class begins as the mean of CLIP's own values of the last map (see
            `clip_values`) under its mask, and what the head adds to it begins at zero; the values
            learn with the head. Else all begins at random.

    Raises:
        ValueError: a size below 1, or a dim that the norms or the heads do not divide.
    """

    dim: int = 256
    queries: int = 100
    heads: int = 8
    pixel_layers: int = 6
    points: int = 4
    pixel_ffn: int = 1024
    decoder_layers: int = 9
    ffn: int = 2048
    from_clip: bool = False

    def __post_init__(self) -> None:
        for field in fields(MaskSizes):
            value = getattr(self, field.name)
            if field.name != "from_clip" and (not isinstance(value, int) or value < 1):
                raise ValueError(f"expected {field.name} of at least 1, got {value!r}")
        if self.dim % NORM_GROUPS or self.dim % self.heads:
            raise ValueError(
                f"expected a dim that is a multiple of {NORM_GROUPS} and of the {self.heads} "
                f"heads, got {self.dim}"
            )


SMALL: dict[str, Any] = {
    "dim": 64,
    "queries": 20,
    "heads": 4,
    "pixel_layers": 3,
    "pixel_ffn": 128,
    "decoder_layers": 3,
    "ffn": 256,
}
"""What differs from the paper's sizes in the preset "small"."""
