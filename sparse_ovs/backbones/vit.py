"""CLIP vision transformers: open_clip's VisionTransformer up to its last block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.backbones.clip_parts import ClipParts
from sparse_ovs.backbones.trunk import Backbone, layers_of


class ViTTrunk(Backbone):
    """Features: each block's patch tokens as a map at the patch's stride; by default four evenly
    spaced blocks.

    Parameter names are open_clip's (`transformer.resblocks.0.attn.in_proj_weight`). Any input size
    of at least one patch works: the positional embedding is resampled, and a rest smaller than a
    patch is cut off.
    """

    pooling = "last block"

    def __init__(
        self, visual: Any, out_indices: Sequence[int] | None, *, clip: ClipParts | None = None
    ) -> None:
        super().__init__(clip)
        self.conv1, self.ln_pre, self.transformer = visual.conv1, visual.ln_pre, visual.transformer
        self.patch_dropout = visual.patch_dropout
        self.class_embedding = visual.class_embedding
        self.positional_embedding = visual.positional_embedding
        self.patch_size = tuple(visual.patch_size)
        self.grid_size = tuple(visual.grid_size)
        blocks = self.transformer.resblocks
        features = [
            {
                "num_chs": self.conv1.out_channels,
                "reduction": self.patch_size[0],
                "module": f"transformer.resblocks.{i}",
            }
            for i in range(len(blocks))
        ]
        if out_indices is None:
            out_indices = [len(blocks) * (i + 1) // 4 - 1 for i in range(4)]
        self._set_features(features, out_indices)

    def scope(self) -> list[str]:
        return layers_of(self, ("transformer.resblocks.",))

    def _positions(self, height: int, width: int) -> Tensor:
        """(1 + height * width, D): the class token's, and the patches' resampled to another
        grid."""
        if (height, width) == self.grid_size:
            return self.positional_embedding
        own, patches = self.positional_embedding[:1], self.positional_embedding[1:]
        grid = patches.T.reshape(1, -1, *self.grid_size)  # (1, D, H, W)
        grid = F.interpolate(
            grid, size=(height, width), mode="bicubic", antialias=True, align_corners=False
        )
        return torch.cat([own, grid.flatten(2)[0].T])

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.conv1(x)  # (N, D, H / patch, W / patch)
        batch, width = x.shape[0], x.shape[1]
        rows, columns = x.shape[2], x.shape[3]
        x = x.flatten(2).transpose(1, 2)
        own = self.class_embedding.to(x.dtype).expand(batch, 1, width)
        x = torch.cat([own, x], dim=1) + self._positions(rows, columns).to(x.dtype)
        x = self.ln_pre(self.patch_dropout(x))  # (N, 1 + H * W, D)
        maps = []
        if not self.transformer.batch_first:
            x = x.transpose(0, 1)
        for index, block in enumerate(self.transformer.resblocks):
            if index > self.out_indices[-1]:
                break
            x = block(x)
            if index in self.out_indices:
                tokens = x if self.transformer.batch_first else x.transpose(0, 1)
                maps.append(tokens[:, 1:].transpose(1, 2).reshape(batch, width, rows, columns))
        return maps
