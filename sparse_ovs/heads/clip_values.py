"""CLIP's own embedding of every cell: what it would add to the pooled one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone


def values_index(backbone: Backbone) -> int:
    """Which of the backbone's features `clip_values` reads.

    Raises:
        ValueError: a backbone that pools without values.
    """
    levels = backbone.levels()
    if backbone.pooling == "attention":
        return levels[-1].index
    if backbone.pooling != "last block":
        raise ValueError(
            "expected a CLIP ResNet or ViT, which pools values, got "
            f"{backbone.clip.name!r} ({type(backbone).__name__}), which pools without"
        )
    if len(levels) < 2:
        raise ValueError(f"expected a ViT of at least 2 blocks, got {len(levels)}")
    return levels[-2].index  # what enters the last block


def clip_values(backbone: Backbone) -> nn.Module:
    """A map (N, C, h, w) of `values_index` -> its cells in CLIP's joint space (N, D, h, w), of any
    length (MaskCLIP, arXiv 2112.01071, section 3.2).

    ResNets: the attention pool's v_proj, then c_proj, as one 1 x 1 convolution, their product
    (D, C). ViTs: the last block's ln_1, value projection and out_proj on the tokens that enter it,
    then ln_post and proj; the block's residual and MLP are left out. No position is added anywhere,
    so that any size works. The parameters are copies: what the encoder loses to pruning later does
    not change them.

    Raises:
        ValueError: see `values_index`, or a ViT of another kind of blocks.
    """
    values_index(backbone)
    return _pool_values(backbone) if backbone.pooling == "attention" else _block_values(backbone)


def _pool_values(backbone: Backbone) -> nn.Module:
    pool: Any = backbone.clip.attention_pool
    return _one_conv(pool.v_proj.weight, pool.v_proj.bias, pool.c_proj)


def _one_conv(weight: Tensor, bias: Tensor, then: nn.Module) -> nn.Conv2d:
    """`then` after a linear map, as one 1 x 1 convolution."""
    assert isinstance(then, nn.Linear)
    outer = then.weight.detach().double()
    joint = outer @ weight.detach().double()
    shift = outer @ bias.detach().double() + then.bias.detach().double()
    conv = nn.Conv2d(joint.shape[1], joint.shape[0], 1, device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        conv.weight.copy_(joint[:, :, None, None])
        conv.bias.copy_(shift)  # type: ignore[union-attr]
    return conv


class _BlockValues(nn.Module):
    """The value path of a transformer's last block, and what follows the transformer."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        block = visual.transformer.resblocks[-1]
        width = block.attn.embed_dim
        weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
        self.ln_1 = _copy_norm(block.ln_1)
        self.project = _one_conv(weight[2 * width :], bias[2 * width :], block.attn.out_proj)
        scale = getattr(block.ls_1, "gamma", None)
        if scale is not None:
            with torch.no_grad():
                self.project.weight.mul_(scale[:, None, None, None])
                self.project.bias.mul_(scale)  # type: ignore[union-attr]
        self.ln_post = _copy_norm(visual.ln_post)
        self.proj = nn.Parameter(visual.proj.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w), the tokens that enter the block -> (N, D, h, w)."""
        x = self.project(_channels(self.ln_1, x))
        return torch.einsum("nchw,cd->ndhw", _channels(self.ln_post, x), self.proj)


def _channels(norm: nn.Module, x: Tensor) -> Tensor:
    """A LayerNorm over dim 1."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _copy_norm(norm: nn.LayerNorm) -> nn.LayerNorm:
    copy = nn.LayerNorm(norm.normalized_shape, norm.eps).to(norm.weight.device, norm.weight.dtype)
    copy.load_state_dict(norm.state_dict())
    return copy


def _block_values(backbone: Backbone) -> nn.Module:
    from open_clip.transformer import ResidualAttentionBlock

    visual: Any = backbone.clip.visual
    block = visual.transformer.resblocks[-1]
    usual = isinstance(block, ResidualAttentionBlock) and visual.attn_pool is None
    if not usual or visual.proj is None or block.attn.in_proj_weight is None:
        raise ValueError(
            "expected a ViT with plain attention blocks and a projection, without an attentional "
            f"pool, got {backbone.clip.name!r}"
        )
    return _BlockValues(visual)
