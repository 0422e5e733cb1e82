"""Hosts that are not installed here, in miniature: their attribute names and call patterns."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from timm.models import byobnet, register_model
from torch import Tensor, nn

from fc_clip_tree import CLIP, FCCLIP, TinyCLIP


def lively(model: nn.Module) -> nn.Module:
    """BatchNorms that count, so that two models do not agree by chance; in eval mode."""
    generator = torch.Generator().manual_seed(5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            with torch.no_grad():
                module.weight.masked_fill_(module.weight == 0, 0.25)
    return model.eval()


@register_model
def small_resnet_clip(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """timm's resnet50_clip with one block of an eighth of the channels in each stage."""
    cfg = byobnet.model_cfgs["resnet50_clip"]
    blocks = tuple(dataclasses.replace(block, d=1, c=block.c // 8) for block in cfg.blocks)
    cfg = dataclasses.replace(cfg, blocks=blocks, stem_chs=16, head_type="")
    return byobnet.build_model_with_cfg(
        byobnet.ByobNet,
        "small_resnet_clip",
        False,
        model_cfg=cfg,
        feature_cfg={"flatten_sequential": True},
        **kwargs,
    )


def fc_clip() -> FCCLIP:
    model = FCCLIP()
    lively(model.backbone.clip_model.visual)
    return model.train()


def tiny_clip() -> TinyCLIP:
    model = TinyCLIP(ModifiedResNet([1, 1, 1, 1], 32, 4, image_size=64, width=8))
    lively(model.visual)
    return model


class _Trunk(nn.Module):
    """timm's ConvNeXt, as far as fc-clip calls it."""

    def __init__(self) -> None:
        super().__init__()
        import timm

        made = timm.create_model(
            "convnext_atto", depths=(1, 1, 1, 1), dims=(16, 32, 64, 128), num_classes=0
        )
        self.stem, self.stages = made.stem, made.stages
        self.norm_pre, self.head = made.norm_pre, made.head


class _ConvNeXtVisual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = _Trunk()
        self.head = nn.Sequential(OrderedDict(proj=nn.Linear(128, 32, bias=False)))


class ConvNeXtCLIP(CLIP):
    """fc-clip's backbone with a ConvNeXt: stem, each stage and norm_pre are called one by one, the
    heads on pooled masks."""

    def __init__(self) -> None:
        super().__init__()
        self.model_name = "convnext-tiny"
        self.clip_model = TinyCLIP(_ConvNeXtVisual())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.eval()
        trunk = self.clip_model.visual.trunk
        out = {}
        x = out["stem"] = trunk.stem(x)
        for number in range(4):
            x = out[f"res{number + 2}"] = trunk.stages[number](x)
        out["clip_vis_dense"] = trunk.norm_pre(x)
        return out

    def visual_prediction_forward(self, x: Tensor, masks: Tensor) -> Tensor:
        inside = (masks > 0).to(x.dtype)
        pooled = torch.einsum("nchw,nqhw->nqc", x, inside)
        pooled = pooled / (inside.sum((-1, -2)).unsqueeze(-1) + 1e-8)
        visual = self.clip_model.visual
        n, q, c = pooled.shape
        features = visual.head(visual.trunk.head(pooled.reshape(n * q, c, 1, 1)))
        return features.view(n, q, -1)


def fc_clip_convnext() -> FCCLIP:
    model = FCCLIP()
    model.backbone = ConvNeXtCLIP()
    model.sem_seg_head = nn.Conv2d(128, 6, 1)
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            nn.init.ones_(parameter)
    return model.train()


class _Bottleneck(nn.Module):
    """One `relu` serves all three convolutions."""

    def __init__(self, inplanes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or inplanes != 4 * planes:
            self.downsample = nn.Sequential(
                OrderedDict(
                    [
                        ("-1", nn.AvgPool2d(stride)),
                        ("0", nn.Conv2d(inplanes, 4 * planes, 1, bias=False)),
                        ("1", nn.BatchNorm2d(4 * planes)),
                    ]
                )
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(self.avgpool(out)))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class CLIPResNetWithAttention(nn.Module):
    """OpenTrans's backbone: the ResNet itself, one `relu` for its stem."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        self.relu = nn.ReLU(inplace=True)
        inplanes = width
        for number, stride in enumerate((1, 2, 2, 2), 1):
            planes = width * 2 ** (number - 1)
            setattr(self, f"layer{number}", nn.Sequential(_Bottleneck(inplanes, planes, stride)))
            inplanes = 4 * planes
        self.attnpool = AttentionPool2d(2, inplanes, 4, 32)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        for number in (1, 2, 3):
            conv, bn = getattr(self, f"conv{number}"), getattr(self, f"bn{number}")
            x = self.relu(bn(conv(x)))
        x = self.avgpool(x)
        out = {}
        for number in (1, 2, 3, 4):
            x = out[f"res{number + 1}"] = getattr(self, f"layer{number}")(x)
        out["attn"] = self.attnpool(x)
        return out


class OpenSegMaskFormer(nn.Module):
    """OpenTrans's model: the backbone learns, BatchNorm in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = CLIPResNetWithAttention()
        self.sem_seg_head = nn.Conv2d(256, 6, 1)

    def forward(self, images: Tensor) -> tuple[Any, ...]:
        maps = self.backbone(images)
        masks = F.interpolate(self.sem_seg_head(maps["res5"]), scale_factor=2.0, mode="bilinear")
        return masks, maps["res2"], maps["attn"]


def open_trans() -> OpenSegMaskFormer:
    model = OpenSegMaskFormer()
    lively(model)
    return model
