"""maskclip: segmentation without training, from CLIP's own last layer without its attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads.head import PixelHead
from sparse_ovs.heads.sizes import Sizes
from sparse_ovs.text import TextEmbeddings


class MaskCLIP(PixelHead):
    """Each cell is classified by what it would add to CLIP's pooled embedding (MaskCLIP, arXiv
    2112.01071, section 3.2).

    ResNets: the attention pool's v_proj, then c_proj, as 1 x 1 convolutions of the last map. ViTs:
    the last block's ln_1, value projection and out_proj on the tokens that enter it, then ln_post
    and proj; the block's residual and MLP are left out. No position is added anywhere, so that any
    size works. Logits are cosines to the text times CLIP's scale.

    The two projections are kept as one, their product: (D, C) for ResNets.
    """

    name = "maskclip"
    learns = False

    @classmethod
    def needed_indices(cls, backbone: Backbone) -> tuple[int, ...]:
        levels = backbone.levels()
        if backbone.pooling == "attention":
            return (levels[-1].index,)
        if backbone.pooling != "last block":
            raise ValueError(
                "expected a CLIP ResNet or ViT for maskclip, got "
                f"{backbone.clip.name!r} ({type(backbone).__name__}), which pools without values"
            )
        if len(levels) < 2:
            raise ValueError(f"expected a ViT of at least 2 blocks for maskclip, got {len(levels)}")
        return (levels[-2].index,)  # what enters the last block

    def __init__(self, backbone: Backbone, sizes: Sizes | None = None) -> None:
        super().__init__(backbone, sizes)
        values = _pool_values if backbone.pooling == "attention" else _block_values
        self.values = values(backbone)
        self.scale = nn.Parameter(backbone.clip.logit_scale.detach().exp().clone())

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        """(N, D, h, w), unit length along D: each cell in CLIP's joint space."""
        (last,) = self.needed(features)
        return F.normalize(self.values(last), dim=1)

    def forward(self, features: Sequence[Tensor], text: TextEmbeddings) -> Tensor:
        """Logits (N, K, h, w)."""
        return self.scale * text.similarity(self.embed(features))


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
    """The value path of a transformer's last block, and what follows the transformer.

    Its parameters are copies: what the encoder's own last block loses to pruning changes nothing
    here after it was built.
    """

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
            f"pool, for maskclip, got {backbone.clip.name!r}"
        )
    return _BlockValues(visual)
