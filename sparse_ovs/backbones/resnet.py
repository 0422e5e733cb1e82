"""CLIP ResNets: open_clip's ModifiedResNet without its attention pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from sparse_ovs.backbones.clip_parts import ClipParts
from sparse_ovs.backbones.dilation import OUTPUT_STRIDES, dilate
from sparse_ovs.backbones.prefix import Depth, Prefix
from sparse_ovs.backbones.trunk import Backbone, layers_of

_STAGES = ("layer1", "layer2", "layer3", "layer4")


class ResNetTrunk(Backbone):
    """Features 0 to 4: the unpooled stem at stride 2, and layer1 to layer4 at strides 4 to 32, or
    to `output_stride` at most (see `dilate`).

    Module names are open_clip's (`layer1.0.conv1`); any input size works.

    Attributes:
        prefix: runs what is frozen from the image on; None where nothing was frozen.
    """

    pooling = "attention"
    dilates = True
    prefix: Prefix | None

    def __init__(
        self,
        visual: Any,
        out_indices: Sequence[int] | None,
        output_stride: int | None = None,
        *,
        clip: ClipParts | None = None,
    ) -> None:
        super().__init__(clip)
        self.prefix = None
        for name, child in visual.named_children():
            if name != "attnpool":
                self.add_module(name, child)
        stride = OUTPUT_STRIDES[-1] if output_stride is None else output_stride
        width = self.conv3.out_channels
        features = [{"num_chs": width, "reduction": 2, "module": "act3"}]
        for stage, name in enumerate(_STAGES):
            reduction = min(4 * 2**stage, stride)
            features.append(
                {"num_chs": width * 4 * 2**stage, "reduction": reduction, "module": name}
            )
        dilate([stage for _, stage in self.stages()], stride)
        self._set_features(features, (1, 2, 3, 4) if out_indices is None else out_indices)
        if output_stride is not None:
            self.config["output_stride"] = output_stride

    def scope(self) -> list[str]:
        return layers_of(self, tuple(f"{name}." for name in _STAGES))

    def stages(self) -> list[tuple[str, nn.Sequential]]:
        """The stages by name, in order."""
        return [(name, getattr(self, name)) for name in _STAGES if hasattr(self, name)]

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        if self.prefix is not None:
            self.prefix.forget()
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor) -> list[Tensor]:
        done = None if self.prefix is None else self.prefix.run(x)
        if done is not None:
            x, maps, depth = done
        else:
            x = self.act1(self.bn1(self.conv1(x)))
            x = self.act2(self.bn2(self.conv2(x)))
            x = self.act3(self.bn3(self.conv3(x)))
            maps, depth = [x] if 0 in self.out_indices else [], Depth(0, 0)
            x = self.avgpool(x)
        for index, (_, stage) in enumerate(self.stages(), 1):
            if index <= depth.stages:
                continue
            if index > self.out_indices[-1]:
                break
            begun = depth.blocks > 0 and index == depth.stages + 1
            x = stage[depth.blocks :](x) if begun else stage(x)
            if index in self.out_indices:
                maps.append(x)
        return maps
