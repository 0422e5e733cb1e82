"""What every backbone offers: maps as timm gives them, preprocessing, CLIP's other parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor, nn

from sparse_ovs.backbones.clip_parts import ClipParts
from sparse_ovs.nn import SparsifyReport

if TYPE_CHECKING:
    from timm.models._features import FeatureInfo

Pooling = Literal["attention", "last block", "mean"]


@dataclass(frozen=True)
class Level:
    """One map that a backbone can give.

    Attributes:
        index: what `select` and `out_indices` call it.
        stride: pixels of the image from one of its cells to the next.
        channels: of the map.
        module: that makes it, by name.
    """

    index: int
    stride: int
    channels: int
    module: str


class Backbone(nn.Module):
    """Image (N, 3, H, W) -> list of maps, one for each of `out_indices`.

    Args:
        clip: what the trunk was taken from; None for a trunk alone.

    Attributes:
        feature_info: timm's FeatureInfo: channels(), reduction(), module_name(), get_dicts(), len,
            [].
        pooling: how CLIP makes one embedding of the maps: "attention", by a pool on the last map
            (`clip.attention_pool`); "last block", by the class token of a transformer; "mean".
        dilates: whether `create_backbone` can hold its last maps at an `output_stride`.
        preprocess: PIL image -> (3, H, W), as the model was trained.
        clip: ClipParts; follows `.to()` but is no submodule.
        config: what create_backbone was called with, for files.
        report: what sparsify did at creation; None where nothing was swapped.
    """

    pooling: ClassVar[Pooling] = "mean"
    dilates: ClassVar[bool] = False
    feature_info: FeatureInfo
    preprocess: Callable[..., Tensor]
    clip: ClipParts
    config: dict[str, Any]
    report: SparsifyReport | None

    if TYPE_CHECKING:  # children are of many types, which nn.Module declares as Tensor | Module

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, clip: ClipParts | None = None) -> None:
        super().__init__()
        self.config, self.report = {}, None
        if clip is not None:
            self.clip, self.preprocess = clip, clip.preprocess()
            self.config["name"] = clip.name

    def _set_features(self, features: list[dict[str, Any]], out_indices: Sequence[int]) -> None:
        """Raises ValueError where an index names no feature."""
        from timm.models._features import FeatureInfo

        indices = tuple(out_indices)
        if not indices or any(not 0 <= i < len(features) for i in indices):
            raise ValueError(
                f"expected out_indices from 0 to {len(features) - 1}, got {list(out_indices)}"
            )
        if list(indices) != sorted(set(indices)):
            raise ValueError(f"expected rising out_indices, got {list(out_indices)}")
        self.out_indices = indices
        self.feature_info = FeatureInfo(features, indices)
        self.config["out_indices"] = list(indices)

    def levels(self) -> tuple[Level, ...]:
        """All maps that it can give, from the image on; `select` says which it does give."""
        return tuple(
            Level(index, info["reduction"], info["num_chs"], info["module"])
            for index, info in enumerate(self.feature_info.info)
        )

    def select(self, out_indices: Sequence[int]) -> None:
        """Returns other features from now on.

        Raises:
            ValueError: an index that names no feature, or indices that do not rise.
        """
        self._set_features(self.feature_info.info, out_indices)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Any:
        result = super()._apply(fn, recurse)
        if "clip" in self.__dict__:
            self.clip.model._apply(fn, recurse)
        return result

    def scope(self) -> list[str]:
        """Names of the layers that pruning covers by default."""
        raise NotImplementedError


def default_scope(model: Backbone) -> list[str]:
    """Names of the layers that pruning covers by default: the 52 convolutions of layer1-4 for RN50,
    the projections of
    the blocks for ViT, the pointwise layers of the stages for ConvNeXt."""
    return model.scope()


def layers_of(model: nn.Module, prefixes: tuple[str, ...]) -> list[str]:
    """Convolutions (not depthwise), linears and attentions under the prefixes, in module order."""
    names = []
    inside: set[int] = set()
    for name, module in model.named_modules():
        if not name.startswith(prefixes) or id(module) in inside:
            continue
        if isinstance(module, nn.MultiheadAttention):
            inside.add(id(module.out_proj))
            names.append(name)
        elif isinstance(module, nn.Linear) or (
            isinstance(module, nn.Conv2d) and module.groups == 1
        ):
            names.append(name)
    return names
