"""Reads an encoder's maps together with the one vector that CLIP pools them into."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sparse_ovs.backbones import Backbone

# Maps (N, C, H, W), finest first -> one vector an image, (N, D).
Embed = Callable[[list[Tensor]], Tensor]
_Module = TypeVar("_Module", bound=nn.Module)


class EmbeddingReader(nn.Module):
    """(model, images) -> (maps, embedding (N, D)), for teacher and student alike: whatever pools
    is one frozen copy, so that both are measured by the same pool."""

    def forward(self, model: nn.Module, images: Tensor) -> tuple[list[Tensor], Tensor]:
        raise NotImplementedError


class FromMaps(EmbeddingReader):
    """The embedding follows from the maps."""

    def __init__(self, embed: Embed) -> None:
        super().__init__()
        self.embed = embed

    def forward(self, model: nn.Module, images: Tensor) -> tuple[list[Tensor], Tensor]:
        maps = list(model(images))
        return maps, self.embed(maps)


class FromClassToken(EmbeddingReader):
    """CLIP ViT's: the class token after the last block, normalised and projected.

    A ViTTrunk returns patch tokens only, so the token is taken as it leaves the block.
    """

    def __init__(self, norm: nn.Module, projection: Tensor | None) -> None:
        super().__init__()
        self.norm = norm
        self.register_buffer("projection", projection)

    def forward(self, model: nn.Module, images: Tensor) -> tuple[list[Tensor], Tensor]:
        trunk: Any = model.module if isinstance(model, DistributedDataParallel) else model
        seen: list[Tensor] = []
        hook = trunk.transformer.resblocks[-1].register_forward_hook(
            lambda _module, _inputs, output: seen.append(output)
        )
        try:
            maps = list(model(images))
        finally:
            hook.remove()
        tokens = seen[0] if trunk.transformer.batch_first else seen[0].transpose(0, 1)
        token = self.norm(tokens[:, 0])
        return maps, token if self.projection is None else token @ self.projection


class AttentionPool(nn.Module):
    """CLIP ResNet's attention pool on res5 maps of any size, with its native positional embedding.

    A map of another grid (7 x 7 for RN50 at 224 x 224) is averaged or repeated onto the native one:
    the embedding is CLIP's own at the native size, and positions never see a resampled embedding.
    """

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool
        positions: Any = pool.positional_embedding
        self.side = round((positions.shape[0] - 1) ** 0.5)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.pool(F.adaptive_avg_pool2d(maps[-1], self.side))


def mean_of_last_map(maps: list[Tensor]) -> Tensor:
    """(N, C): what stands for the embedding where a model has no pool of its own."""
    return maps[-1].mean((2, 3))


def make_embedding_reader(model: nn.Module, embed: Embed | None = None) -> EmbeddingReader:
    """The reader that fits a model; every module in it is a frozen copy in eval mode.

    Args:
        model: a Backbone, or any module that returns a list of maps.
        embed: maps -> (N, D), instead of the model's own pool.

    Returns:
        By default CLIP's attention pool for its ResNets, the projected class token for its ViTs,
        and the mean of the last map for every other model.

    Raises:
        ValueError: a backbone whose out_indices leave out the map or block that its pool needs.
    """
    if embed is not None:
        return _frozen(FromMaps(frozen_copy(embed) if isinstance(embed, nn.Module) else embed))
    if isinstance(model, Backbone):
        visual: Any = model.clip.visual
        if model.clip.attention_pool is not None:
            _check_reaches_end(model)
            return _frozen(FromMaps(AttentionPool(copy.deepcopy(model.clip.attention_pool))))
        if getattr(visual, "pool_type", None) == "tok" and visual.attn_pool is None:
            _check_reaches_end(model)
            projection = None if visual.proj is None else visual.proj.detach().clone()
            return _frozen(FromClassToken(copy.deepcopy(visual.ln_post), projection))
    return FromMaps(mean_of_last_map)


def frozen_copy(model: _Module) -> _Module:
    """A deep copy in eval mode without gradients; of a Backbone the trunk alone, since CLIP's text
    tower is larger and no map needs it."""
    if not isinstance(model, Backbone) or not hasattr(model, "clip"):
        return _frozen(copy.deepcopy(model))
    # Shared for the moment of copying, so that deepcopy does not descend into it.
    trunk = copy.deepcopy(model, {id(model.clip): model.clip})
    del trunk.clip
    return _frozen(trunk)


def _frozen(module: _Module) -> _Module:
    return module.eval().requires_grad_(False)


def _check_reaches_end(model: Backbone) -> None:
    last = len(model.feature_info.info) - 1
    if model.out_indices[-1] != last:
        raise ValueError(
            f"expected out_indices that end with {last}, which the pooled embedding is made of, "
            f"got {list(model.out_indices)}"
        )
