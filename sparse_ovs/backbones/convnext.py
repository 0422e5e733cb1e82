"""CLIP ConvNeXts: the trunk of the timm model inside open_clip, without norm_pre and head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sparse_ovs.backbones.clip_parts import ClipParts
from sparse_ovs.backbones.trunk import Backbone, layers_of


class ConvNeXtTrunk(Backbone):
    """Features 0 to 3: the stages at strides 4 to 32.

    Module names are timm's (`stages.0.blocks.0.mlp.fc1`).
    """

    def __init__(
        self, visual: Any, out_indices: Sequence[int] | None, *, clip: ClipParts | None = None
    ) -> None:
        super().__init__(clip)
        trunk = visual.trunk
        self.stem, self.stages = trunk.stem, trunk.stages
        self._set_features(
            trunk.feature_info, range(len(self.stages)) if out_indices is None else out_indices
        )

    def scope(self) -> list[str]:
        # Downsampling layers mix 2x2 pixels between stages; they are few and stay dense, as the
        # stem does.
        return [name for name in layers_of(self, ("stages.",)) if ".blocks." in name]

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps = []
        for index, stage in enumerate(self.stages):
            if index > self.out_indices[-1]:
                break
            x = stage(x)
            if index in self.out_indices:
                maps.append(x)
        return maps
