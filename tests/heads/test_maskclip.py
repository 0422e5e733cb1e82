"""maskclip: against open_clip's own modules, and sparse against masked dense."""

from __future__ import annotations

import copy

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import sparse_ovs
from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone
from sparse_ovs.heads import MaskCLIP, create_head
from sparse_ovs.text import TextEmbeddings, Vocabulary, embed_vocabulary
from support.models import masked_dense
from support.oracles import random_mask
from support.small_clips import RN, VIT, small_backbone

WORDS = Vocabulary.parse("cat, kitten; dog; sky")


def head_and_text(backbone: Backbone) -> tuple[MaskCLIP, TextEmbeddings]:
    head = create_head("maskclip", backbone)
    assert isinstance(head, MaskCLIP)
    return head, embed_vocabulary(backbone.clip, WORDS, "bare")


def classify(cells: Tensor, backbone: Backbone) -> Tensor:
    """(N, h, w, D) -> logits (N, K, h, w), class by class in open_clip's terms."""
    model = backbone.clip.model
    cells = F.normalize(cells, dim=-1)
    logits = []
    for synonyms in WORDS.classes:
        text = model.encode_text(backbone.clip.tokenizer(list(synonyms)), normalize=True)
        logits.append((model.logit_scale.exp() * cells @ text.T).amax(-1))
    return torch.stack(logits, 1)


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (96, 160), (32, 32)])
def test_a_resnets_logits_are_its_pools_projections_of_the_last_map(size: tuple[int, int]) -> None:
    backbone = small_backbone(RN)
    x = torch.randn(2, 3, *size)
    visual = backbone.clip.visual
    last = visual.forward_intermediates(x, indices=1, intermediates_only=True)
    cells = last["image_intermediates"][-1].permute(0, 2, 3, 1)
    expected = classify(visual.attnpool.c_proj(visual.attnpool.v_proj(cells)), backbone)
    head, text = head_and_text(backbone)
    torch.testing.assert_close(head(backbone(x), text), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_vits_logits_are_its_last_block_with_each_token_seeing_itself_alone() -> None:
    backbone = small_backbone(VIT)
    x = torch.randn(2, 3, 32, 32)
    visual = backbone.clip.visual
    tokens = visual._embeds(x)
    for block in visual.transformer.resblocks[:-1]:
        tokens = block(tokens)
    last = visual.transformer.resblocks[-1]
    alone = torch.full((17, 17), float("-inf")).fill_diagonal_(0.0)
    values = last.ls_1(last.attention(last.ln_1(tokens), attn_mask=alone))
    cells = (visual.ln_post(values) @ visual.proj)[:, 1:].unflatten(1, (4, 4))
    head, text = head_and_text(backbone)
    made = head(backbone(x), text)
    torch.testing.assert_close(made, classify(cells, backbone), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_layer_scale_in_the_last_block_counts() -> None:
    backbone = small_backbone(VIT)
    last = backbone.transformer.resblocks[-1]
    plain = create_head("maskclip", backbone).values
    last.ls_1 = open_clip.transformer.LayerScale(32, 1.0)
    last.ls_1.gamma.copy_(torch.linspace(0.5, 2.0, 32))
    scaled = create_head("maskclip", backbone).values
    x = torch.randn(1, 32, 2, 2)
    norm = plain.ln_1(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    expected = plain.project(norm) * last.ls_1.gamma[:, None, None]
    torch.testing.assert_close(scaled.project(norm), expected)


@torch.no_grad()
@pytest.mark.parametrize("name", [RN, VIT])
@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 64)])
def test_sparse_and_masked_dense_give_the_same_logits(name: str, size: tuple[int, int]) -> None:
    backbone = small_backbone(name, density=0.3, engine="native")
    assert_same_logits(backbone, torch.randn(1, 3, *size))


@torch.no_grad()
@pytest.mark.parametrize("name", [RN, VIT])
def test_a_compiled_encoder_gives_the_same_logits(name: str) -> None:
    backbone = small_backbone(name, density=0.3)
    head, text = head_and_text(backbone)
    x = torch.randn(1, 3, 64, 96)
    fast = sparse_ovs.compile(backbone, x)
    torch.testing.assert_close(head(fast(x), text), head(backbone(x), text), rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("size", [(512, 512), (640, 640), (800, 1216)])
def test_rn50_gives_the_masked_dense_logits(sparse_rn50: Backbone, size: tuple[int, int]) -> None:
    assert_same_logits(sparse_rn50, torch.randn(1, 3, *size))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("size", [224, 512])
def test_vit_b_16_gives_the_masked_dense_logits(size: int) -> None:
    backbone = create_backbone("ViT-B-16", density=0.1, engine="native", out_indices=(10,))
    assert_same_logits(backbone, torch.randn(1, 3, size, size))


def assert_same_logits(backbone: Backbone, x: Tensor, limit: float = 1e-4) -> None:
    """Of the sparse modules, the compiled encoder and the dense twin, relative to the largest."""
    head, text = head_and_text(backbone)
    dense = head(masked_dense(backbone)(x), text)
    assert dense.std() > 0
    for encoder in (backbone, sparse_ovs.compile(backbone, x)):
        error = (head(encoder(x), text) - dense).abs().max() / dense.abs().max()
        assert float(error) <= limit


def test_a_head_keeps_its_own_weights() -> None:
    backbone = small_backbone(VIT)
    head = create_head("maskclip", backbone)
    before = copy.deepcopy(head.state_dict())
    with torch.no_grad():
        for parameter in backbone.clip.model.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[key]) for key, value in head.state_dict().items())


def test_a_pruned_last_block_gives_the_head_pruned_values() -> None:
    backbone = small_backbone(VIT)
    name = "transformer.resblocks.3.attn"
    masks = {f"{name}.in_proj": torch.zeros(96, 32, dtype=torch.bool)}
    masks[f"{name}.out_proj"] = random_mask((32, 32), 0.5)
    sparse_ovs.sparsify(backbone, "unstructured", None, masks=masks)
    assert create_head("maskclip", backbone).values.project.weight.abs().max() == 0


@pytest.mark.parametrize("name", [RN, VIT])
def test_the_loss_is_cross_entropy_over_pixels_with_a_label(name: str) -> None:
    backbone = small_backbone(name)
    head, text = head_and_text(backbone)
    logits = head(backbone(torch.randn(2, 3, 64, 64)), text)
    labels = torch.randint(0, 3, (2, 64, 64))
    labels[:, :10] = -1
    large = F.interpolate(logits, (64, 64), mode="bilinear", align_corners=False)
    expected = F.cross_entropy(large[:, :, 10:], labels[:, 10:])
    torch.testing.assert_close(head.loss(logits, labels), expected)
    head.loss(logits, labels).backward()
    assert all(p.grad is not None for p in head.values.parameters() if p.requires_grad)


def test_the_loss_without_any_label_is_zero() -> None:
    head, _ = head_and_text(small_backbone())
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = head.loss(logits, torch.full((1, 8, 8), -1))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.isnan().any()


def test_predictions_are_the_logits_in_fp32() -> None:
    head, _ = head_and_text(small_backbone())
    logits = torch.randn(1, 3, 2, 2).bfloat16()
    assert head.predict(logits).dtype == torch.float32
    assert not head.probabilities
