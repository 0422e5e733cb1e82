"""Heads whose joint space begins at CLIP's own values of the last map."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads import Head, create_head
from sparse_ovs.text import TextEmbeddings
from support.small_clips import CONVNEXT, DEEP_RN, RN, small_backbone
from support.small_mask_heads import WORDS, random_text, small_maps

MASK_SIZES = {
    **{"dim": 32, "queries": 5, "heads": 2, "pixel_layers": 1, "pixel_ffn": 32},
    **{"decoder_layers": 2, "ffn": 32, "from_clip": True},
}
DEEPLAB_SIZES = {"dim": 16, "low_dim": 8, "rates": (1, 2, 3), "from_clip": True}


def cells_of(backbone: Backbone, last: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, D, h, w), CLIP's two projections one after the other, of unit length."""
    pool = backbone.clip.attention_pool
    assert pool is not None
    pool = pool.double()
    cells = pool.c_proj(pool.v_proj(last.double().permute(0, 2, 3, 1)))
    return F.normalize(cells.permute(0, 3, 1, 2), dim=1)


def cosines(vectors: Tensor, text: TextEmbeddings) -> Tensor:
    """(..., D) -> (..., K), class by class."""
    rows = F.normalize(text.rows.double(), dim=1).split([len(c) for c in WORDS.classes])
    unit = F.normalize(vectors, dim=-1)
    return torch.stack([(unit @ of_class.T).amax(-1) for of_class in rows], -1)


def made(name: str) -> tuple[Head, Backbone, TextEmbeddings, list[Tensor]]:
    masks = name in ("maskformer", "fcclip")
    backbone = small_backbone(RN) if masks else small_backbone(DEEP_RN, output_stride=16)
    torch.manual_seed(2)
    head = create_head(name, backbone, MASK_SIZES if masks else DEEPLAB_SIZES)
    maps = [x.double() for x in small_maps(backbone)]
    text = TextEmbeddings(random_text(24).rows.double(), WORDS)
    return head.double(), backbone, text, maps


@torch.no_grad()
@pytest.mark.parametrize("name", ["deeplabv3", "deeplabv3plus"])
def test_a_new_pixel_head_classifies_cells_as_clip_does(name: str) -> None:
    head, backbone, text, maps = made(name)
    logits = head(maps, text)
    cells = cells_of(backbone, maps[-1])
    cells = F.interpolate(cells, logits.shape[2:], mode="bilinear", align_corners=False)
    expected = cosines(cells.permute(0, 2, 3, 1), text).permute(0, 3, 1, 2) / 0.07
    torch.testing.assert_close(logits[:, :-1], expected, rtol=1e-6, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", ["maskformer", "fcclip"])
def test_a_new_mask_heads_queries_have_clips_mean_under_their_masks(name: str) -> None:
    head, backbone, text, maps = made(name)
    cells = cells_of(backbone, maps[-1])
    for point in head.train()(maps, text).points:
        for image, masks in enumerate(point.mask_logits):
            for query, mask in enumerate(masks):
                shares = F.adaptive_avg_pool2d(mask.sigmoid()[None], cells.shape[2:])
                vector = (cells[image] * shares).sum((1, 2))
                torch.testing.assert_close(
                    point.class_logits[image, query, :-1],
                    cosines(vector, text) / 0.07,
                    rtol=1e-6,
                    atol=1e-6,
                )


@pytest.mark.parametrize("name", ["deeplabv3", "deeplabv3plus", "maskformer", "fcclip"])
def test_what_the_head_adds_and_clips_values_both_learn(name: str) -> None:
    head, backbone, text, maps = made(name)
    output = head.train()(maps, text)
    logits = output if isinstance(output, Tensor) else output.class_logits
    logits[:, 0].sum().backward()
    adds = {
        "maskformer": "class_projections.2.weight",
        "fcclip": "class_embed.layers.2.weight",
    }.get(name, "classifier.project.weight")
    learns = {key: value.grad for key, value in head.named_parameters()}
    for key in (adds, "values.weight"):
        gradient = learns[key]
        assert gradient is not None, key
        assert gradient.abs().max() > 0, key
    pool = backbone.clip.attention_pool
    assert pool is not None
    assert pool.v_proj.weight.grad is None


def test_a_convnext_has_no_values_to_begin_at() -> None:
    backbone = small_backbone(CONVNEXT)
    with pytest.raises(ValueError, match="expected a CLIP ResNet or ViT, which pools values, got"):
        create_head("maskformer", backbone, MASK_SIZES)
