"""deeplabv3 and deeplabv3plus: dilated convolutions, and a text classifier for every cell."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone, Level
from sparse_ovs.heads.aspp import ASPP, conv_bn_relu
from sparse_ovs.heads.clip_values import clip_values
from sparse_ovs.heads.head import PixelHead
from sparse_ovs.heads.pixel_classifier import PixelClassifier
from sparse_ovs.heads.sizes import Sizes
from sparse_ovs.text import TextEmbeddings

_STRIDE_OF_RATES = 16
_LOW_STRIDE = 4


@dataclass(frozen=True)
class DeepLabSizes(Sizes):
    """What DeepLab's heads are made of.

    Attributes:
        dim: channels of all maps but one.
        low_dim: of the projected low-level map, V3+ alone.
        rates: dilations of the pyramid on a map of stride 16; those of other strides cover the
            same pixels.
        dropout: after the pyramid, and in V3+ after the decoder's first convolution.
        last_dropout: before the classifier, V3+ alone.
        from_clip: cells begin as CLIP's own values of layer4 (see `clip_values`), which learn with
            the head, and what it adds to them begins at zero; else all begins at random.

    Raises:
        ValueError: a size below 1, or a dropout that is no probability below 1.
    """

    dim: int = 256
    low_dim: int = 48
    rates: tuple[int, ...] = (6, 12, 18)
    dropout: float = 0.5
    last_dropout: float = 0.1
    from_clip: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", tuple(self.rates))  # files have lists
        for name in ("dim", "low_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")
        if not self.rates or min(self.rates) < 1:
            raise ValueError(f"expected rates of at least 1, got {self.rates}")
        for name in ("dropout", "last_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"expected {name} from 0 to below 1, got {getattr(self, name)}")


class _DeepLab(PixelHead):
    """What both share: the pyramid on layer4, classes, and "no object" as one class more.

    Logits are (N, K + 1, h, w), the last of "no object", which `predict` drops after the softmax.
    `losses` never has it as a label: pixels that no class fits are IGNORE, and its vector learns
    as what the classes are not.
    """

    probabilities = True
    output_stride = _STRIDE_OF_RATES
    presets: ClassVar = {"paper": DeepLabSizes(), "small": DeepLabSizes(dim=64, low_dim=16)}
    sizes: DeepLabSizes

    @classmethod
    def needed_indices(cls, backbone: Backbone) -> tuple[int, ...]:
        if not backbone.dilates:
            raise ValueError(
                f"expected a CLIP ResNet for {cls.name}, got {backbone.clip.name!r} "
                f"({type(backbone).__name__}), which has no dilated maps"
            )
        return tuple(level.index for level in cls._needed_levels(backbone))

    @classmethod
    @abstractmethod
    def _needed_levels(cls, backbone: Backbone) -> tuple[Level, ...]:
        """The maps that it reads, of a backbone that dilates."""

    def __init__(self, backbone: Backbone, sizes: DeepLabSizes | None = None) -> None:
        super().__init__(backbone, sizes)
        *_, high = self._needed_levels(backbone)
        rates = [max(1, rate * _STRIDE_OF_RATES // high.stride) for rate in self.sizes.rates]
        self.aspp = ASPP(high.channels, self.sizes.dim, rates, self.sizes.dropout)
        self.classifier = PixelClassifier(self.sizes.dim, backbone.clip, self.sizes.from_clip)
        self.values = clip_values(backbone) if self.sizes.from_clip else None

    def predict(self, output: Tensor) -> Tensor:
        return output.float().softmax(1)[:, :-1]

    def _classify(self, x: Tensor, high: Tensor, text: TextEmbeddings) -> Tensor:
        """The decoder's map (N, dim, h, w) and layer4's -> logits (N, K + 1, h, w)."""
        to = None if self.values is None else F.normalize(self.values(high), dim=1)
        return self.classifier(x, text, to)


class DeepLabV3(_DeepLab):
    """The pyramid and one 3x3 convolution on layer4 (arXiv 1706.05587, section 3.3)."""

    name = "deeplabv3"

    @classmethod
    def _needed_levels(cls, backbone: Backbone) -> tuple[Level, ...]:
        return (backbone.levels()[-1],)

    def __init__(self, backbone: Backbone, sizes: DeepLabSizes | None = None) -> None:
        super().__init__(backbone, sizes)
        self.conv = conv_bn_relu(self.sizes.dim, self.sizes.dim, 3)

    def forward(self, features: Sequence[Tensor], text: TextEmbeddings) -> Tensor:
        """Logits (N, K + 1, h, w) at layer4's size."""
        (high,) = self.needed(features)
        return self._classify(self.conv(self.aspp(high)), high, text)


class DeepLabV3Plus(_DeepLab):
    """The pyramid upsampled to layer1's size, joined with it, and two 3x3 convolutions (arXiv
    1802.02611, section 3.1)."""

    name = "deeplabv3plus"

    @classmethod
    def _needed_levels(cls, backbone: Backbone) -> tuple[Level, ...]:
        levels = backbone.levels()
        return (next(level for level in levels if level.stride == _LOW_STRIDE), levels[-1])

    def __init__(self, backbone: Backbone, sizes: DeepLabSizes | None = None) -> None:
        super().__init__(backbone, sizes)
        own = self.sizes
        low, _ = self._needed_levels(backbone)
        self.low = conv_bn_relu(low.channels, own.low_dim)
        self.decoder = nn.Sequential(
            conv_bn_relu(own.dim + own.low_dim, own.dim, 3),
            nn.Dropout(own.dropout),
            conv_bn_relu(own.dim, own.dim, 3),
            nn.Dropout(own.last_dropout),
        )

    def forward(self, features: Sequence[Tensor], text: TextEmbeddings) -> Tensor:
        """Logits (N, K + 1, h, w) at layer1's size."""
        low, high = self.needed(features)
        wide = F.interpolate(self.aspp(high), low.shape[-2:], mode="bilinear", align_corners=False)
        return self._classify(self.decoder(torch.cat([wide, self.low(low)], 1)), high, text)
