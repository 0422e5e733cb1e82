"""The pooled embedding of an encoder, against open_clip's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone
from sparse_ovs.backbones.resnet import ResNetTrunk
from sparse_ovs.backbones.vit import ViTTrunk
from sparse_ovs.pruning.embedding import frozen_copy, make_embedding_reader
from support.small_encoders import Small


@pytest.fixture(scope="module")
def vit() -> Backbone:
    return create_backbone("ViT-S-32")


def _close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_rn50s_embedding_is_clips_own_at_its_native_size(rn50: Backbone) -> None:
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        maps, embedding = make_embedding_reader(rn50)(rn50, x)
        _close(embedding, rn50.clip.model.encode_image(x))
        assert [m.shape[1] for m in maps] == [256, 512, 1024, 2048]


def test_other_sizes_are_pooled_onto_the_native_grid(rn50: Backbone) -> None:
    reader = make_embedding_reader(rn50)
    with torch.no_grad():
        maps, embedding = reader(rn50, torch.randn(1, 3, 448, 224))  # res5: 14 x 7
        halved = maps[-1].unflatten(2, (7, 2)).mean(3)
        _close(embedding, rn50.clip.attention_pool(halved))


def test_a_vits_embedding_is_its_projected_class_token(vit: Backbone) -> None:
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        maps, embedding = make_embedding_reader(vit)(vit, x)
        _close(embedding, vit.clip.model.encode_image(x))
    assert len(maps) == 4


def test_reading_a_vit_leaves_no_hook_behind_even_after_a_failure(vit: Backbone) -> None:
    reader = make_embedding_reader(vit)
    with pytest.raises(RuntimeError):
        reader(vit, torch.randn(1, 5, 64, 64))
    assert not vit.transformer.resblocks[-1]._forward_hooks


def test_a_model_without_a_pool_gives_the_mean_of_its_last_map() -> None:
    model = Small().eval()
    maps, embedding = make_embedding_reader(model)(model, torch.randn(2, 3, 32, 32))
    torch.testing.assert_close(embedding, maps[-1].flatten(2).mean(2))


def test_a_backbone_that_stops_early_has_no_embedding(rn50: Backbone, vit: Backbone) -> None:
    for kind, whole, end in ((ResNetTrunk, rn50, 4), (ViTTrunk, vit, 11)):
        backbone = kind(whole.clip.visual, out_indices=(1, 2))
        backbone.clip = whole.clip
        with pytest.raises(ValueError, match=f"expected out_indices that end with {end}"):
            make_embedding_reader(backbone)


def test_a_frozen_copy_shares_nothing_with_its_model(rn50: Backbone) -> None:
    model = copy.deepcopy(rn50).train()
    copied = frozen_copy(model)
    own = {t.data_ptr() for t in [*model.parameters(), *model.buffers()]}
    assert not own & {t.data_ptr() for t in [*copied.parameters(), *copied.buffers()]}
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert not any(isinstance(m, nn.Module) and m.training for m in copied.modules())
    assert hasattr(model, "clip")
