"""A stand-in for a model of fc-clip: its attribute names and the way it calls its encoder.

Written for this project, so that the example runs without fc-clip and detectron2: a tiny CLIP with
random weights, and one convolution in place of the mask decoder.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn


class TinyCLIP(nn.Module):
    """What fc-clip's encoder reads of an open_clip model."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual
        self.transformer = nn.Linear(8, 8)  # where the text tower stands
        self.logit_scale = nn.Parameter(torch.ones([]))


class CLIP(nn.Module):
    """The backbone: calls the ResNet's children one by one, and reads its attention pool."""

    def __init__(self) -> None:
        super().__init__()
        self.model_name = "RN-tiny"
        self.clip_model = TinyCLIP(ModifiedResNet([1, 2, 1, 1], 32, 4, image_size=64, width=8))
        self.dim_latent = 32
        self.eval()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> stem, res2 to res5 and clip_vis_dense."""
        self.eval()
        visual = self.clip_model.visual
        out = {}
        x = visual.act1(visual.bn1(visual.conv1(x)))
        x = visual.act2(visual.bn2(visual.conv2(x)))
        x = visual.act3(visual.bn3(visual.conv3(x)))
        out["stem"] = x
        x = visual.avgpool(x)
        for number in (1, 2, 3, 4):
            x = getattr(visual, f"layer{number}")(x)
            out[f"res{number + 1}"] = x
        out["clip_vis_dense"] = x
        return out

    def visual_prediction_forward(self, x: Tensor, masks: Tensor) -> Tensor:
        """(N, C, h, w) maps and (N, Q, h, w) logits of masks -> (N, Q, D), by the attention pool
        whose query is the mean pixel and whose keys are the pixels of each mask."""
        pool = self.clip_model.visual.attnpool
        pixels = x.flatten(2).permute(2, 0, 1)  # (h w, N, C)
        query = pixels.mean(0, keepdim=True).expand(masks.shape[1], -1, -1)
        blocked = (masks <= 0).flatten(2)  # (N, Q, h w)
        answer, _ = F.multi_head_attention_forward(
            query,
            pixels,
            pixels,
            embed_dim_to_check=pixels.shape[-1],
            num_heads=pool.num_heads,
            q_proj_weight=pool.q_proj.weight,
            k_proj_weight=pool.k_proj.weight,
            v_proj_weight=pool.v_proj.weight,
            in_proj_weight=None,
            in_proj_bias=torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=pool.c_proj.weight,
            out_proj_bias=pool.c_proj.bias,
            use_separate_proj_weight=True,
            training=self.training,
            need_weights=False,
            attn_mask=blocked.repeat_interleave(pool.num_heads, 0),
        )
        return answer.transpose(0, 1)


class FCCLIP(nn.Module):
    """The whole model, as far as a swap can touch it."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = CLIP()
        self.sem_seg_head = nn.Conv2d(256, 6, 1)  # where the mask decoder stands

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) -> logits of masks (N, Q, h, w) and embeddings of masks (N, Q, D)."""
        with torch.no_grad():
            maps = self.backbone(images)
        masks = self.sem_seg_head(maps["res5"])
        pooled = self.backbone.visual_prediction_forward(maps["clip_vis_dense"], masks)
        return masks, pooled
