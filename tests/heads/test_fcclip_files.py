"""FC-CLIP's checkpoints: names as its published files have them, typed in here once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sparse_ovs.backbones import Backbone
from sparse_ovs.heads import FCCLIP, create_head, load_fcclip
from support.small_clips import RN, small_backbone
from support.small_mask_heads import random_text, small_maps

# Shapes at the sizes of the preset "small", on a ResNet of 32 to 256 channels and a joint space of
# 24 values. "I", "L", "S" and "C" stand for what is counted.
_PIXELS = {
    "input_proj.0.0.weight": (64, 256, 1, 1),
    "input_proj.1.0.weight": (64, 128, 1, 1),
    "input_proj.2.0.weight": (64, 64, 1, 1),
    "input_proj.I.0.bias": (64,),
    "input_proj.I.1.weight": (64,),
    "input_proj.I.1.bias": (64,),
    "transformer.level_embed": (3, 64),
    "transformer.encoder.layers.L.self_attn.sampling_offsets.weight": (96, 64),
    "transformer.encoder.layers.L.self_attn.sampling_offsets.bias": (96,),
    "transformer.encoder.layers.L.self_attn.attention_weights.weight": (48, 64),
    "transformer.encoder.layers.L.self_attn.attention_weights.bias": (48,),
    "transformer.encoder.layers.L.self_attn.value_proj.weight": (64, 64),
    "transformer.encoder.layers.L.self_attn.value_proj.bias": (64,),
    "transformer.encoder.layers.L.self_attn.output_proj.weight": (64, 64),
    "transformer.encoder.layers.L.self_attn.output_proj.bias": (64,),
    "transformer.encoder.layers.L.norm1.weight": (64,),
    "transformer.encoder.layers.L.norm1.bias": (64,),
    "transformer.encoder.layers.L.linear1.weight": (128, 64),
    "transformer.encoder.layers.L.linear1.bias": (128,),
    "transformer.encoder.layers.L.linear2.weight": (64, 128),
    "transformer.encoder.layers.L.linear2.bias": (64,),
    "transformer.encoder.layers.L.norm2.weight": (64,),
    "transformer.encoder.layers.L.norm2.bias": (64,),
    "mask_features.weight": (64, 64, 1, 1),
    "mask_features.bias": (64,),
    "adapter_1.weight": (64, 32, 1, 1),
    "adapter_1.norm.weight": (64,),
    "adapter_1.norm.bias": (64,),
    "layer_1.weight": (64, 64, 3, 3),
    "layer_1.norm.weight": (64,),
    "layer_1.norm.bias": (64,),
}
_QUERIES = {
    "transformer_self_attention_layers.L.self_attn.in_proj_weight": (192, 64),
    "transformer_self_attention_layers.L.self_attn.in_proj_bias": (192,),
    "transformer_self_attention_layers.L.self_attn.out_proj.weight": (64, 64),
    "transformer_self_attention_layers.L.self_attn.out_proj.bias": (64,),
    "transformer_self_attention_layers.L.norm.weight": (64,),
    "transformer_self_attention_layers.L.norm.bias": (64,),
    "transformer_cross_attention_layers.L.multihead_attn.in_proj_weight": (192, 64),
    "transformer_cross_attention_layers.L.multihead_attn.in_proj_bias": (192,),
    "transformer_cross_attention_layers.L.multihead_attn.out_proj.weight": (64, 64),
    "transformer_cross_attention_layers.L.multihead_attn.out_proj.bias": (64,),
    "transformer_cross_attention_layers.L.norm.weight": (64,),
    "transformer_cross_attention_layers.L.norm.bias": (64,),
    "transformer_ffn_layers.L.linear1.weight": (256, 64),
    "transformer_ffn_layers.L.linear1.bias": (256,),
    "transformer_ffn_layers.L.linear2.weight": (64, 256),
    "transformer_ffn_layers.L.linear2.bias": (64,),
    "transformer_ffn_layers.L.norm.weight": (64,),
    "transformer_ffn_layers.L.norm.bias": (64,),
    "decoder_norm.weight": (64,),
    "decoder_norm.bias": (64,),
    "query_feat.weight": (20, 64),
    "query_embed.weight": (20, 64),
    "level_embed.weight": (3, 64),
    "mask_embed.layers.I.weight": (64, 64),
    "mask_embed.layers.I.bias": (64,),
    "_mask_pooling_proj.0.weight": (64,),
    "_mask_pooling_proj.0.bias": (64,),
    "_mask_pooling_proj.1.weight": (64, 64),
    "_mask_pooling_proj.1.bias": (64,),
    "class_embed.layers.0.weight": (64, 64),
    "class_embed.layers.0.bias": (64,),
    "class_embed.layers.1.weight": (64, 64),
    "class_embed.layers.1.bias": (64,),
    "class_embed.layers.2.weight": (24, 64),
    "class_embed.layers.2.bias": (24,),
    "logit_scale": (),
}


def published() -> dict[str, Tensor]:
    """Random weights of a whole head, by published names."""
    shapes: dict[str, tuple[int, ...]] = {"void_embedding.weight": (1, 24)}
    for part, names in (("pixel_decoder", _PIXELS), ("predictor", _QUERIES)):
        for name, shape in names.items():
            for count in ("0", "1", "2"):  # three projections, layers of each kind and of an MLP
                counted = name.replace(".I.", f".{count}.").replace(".L.", f".{count}.")
                shapes[f"sem_seg_head.{part}.{counted}"] = shape
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def make(tmp_path: Path, content: Any) -> tuple[FCCLIP, Backbone, Path]:
    backbone = small_backbone(RN)
    head = create_head("fcclip", backbone, "small")
    assert isinstance(head, FCCLIP)
    path = tmp_path / "fcclip.pth"
    torch.save(content, path)
    return head, backbone, path


@pytest.mark.parametrize("wrapped", [False, True])
def test_every_published_name_has_its_place(tmp_path: Path, wrapped: bool) -> None:
    state = published()
    extra = {**state, "criterion.empty_weight": torch.ones(134)}
    head, backbone, path = make(tmp_path, {"model": extra} if wrapped else extra)
    assert head.untrained
    load_fcclip(head, backbone, path, seen=("cat", "dog"))
    assert not head.untrained
    assert head.seen == ("cat", "dog")
    assert sum(p.numel() for p in head.parameters()) == sum(v.numel() for v in state.values())
    own = head.state_dict()
    for theirs, ours in {
        "sem_seg_head.pixel_decoder.transformer.encoder.layers.2.linear1.weight": (
            "pixel_decoder.transformer.layers.2.linear1.weight"
        ),
        "sem_seg_head.pixel_decoder.input_proj.0.1.bias": "pixel_decoder.input_proj.0.1.bias",
        "sem_seg_head.predictor._mask_pooling_proj.0.weight": "mask_pooling_proj.0.weight",
        "sem_seg_head.predictor.class_embed.layers.2.bias": "class_embed.layers.2.bias",
        "sem_seg_head.predictor.query_feat.weight": "decoder.query_feat.weight",
        "sem_seg_head.predictor.logit_scale": "classifier.logit_scale",
        "void_embedding.weight": "classifier.void",
    }.items():
        assert torch.equal(own[ours], state[theirs])


def test_seen_classes_are_read_from_a_published_list(tmp_path: Path) -> None:
    head, backbone, path = make(tmp_path, published())
    load_fcclip(head, backbone, path, seen=["person,child, girl", "dog"])
    assert head.seen == ("person", "child", "girl", "dog")
    load_fcclip(head, backbone, path)
    assert head.seen == ()
    with pytest.raises(ValueError, match="expected a name on both sides of each comma"):
        load_fcclip(head, backbone, path, seen=["person,,child"])


def test_a_checkpoint_with_numpy_s_numbers_and_dataparallel_s_names_is_read(tmp_path: Path) -> None:
    state = published()
    content = {
        "model": {f"module.{key}": value for key, value in state.items()},
        "best": np.float64(36.8),
    }
    head, backbone, path = make(tmp_path, content)
    load_fcclip(head, backbone, path)
    assert torch.equal(head.classifier.void, state["void_embedding.weight"])


def test_clips_weights_come_along_where_the_file_has_them(tmp_path: Path) -> None:
    backbone = small_backbone(RN)
    clip = {k: v * 0.9 for k, v in backbone.clip.model.state_dict().items()}
    state = published() | {f"backbone.clip_model.{k}": v for k, v in clip.items()}
    head, backbone, path = make(tmp_path, {"model": state})
    load_fcclip(head, backbone, path)
    assert torch.equal(backbone.conv1.weight, clip["visual.conv1.weight"])
    assert torch.equal(backbone.clip.model.text_projection, clip["text_projection"])
    assert backbone.clip.random_parts == ()
    with torch.no_grad():
        assert head(small_maps(backbone), random_text(24)).class_logits.isfinite().all()


def test_a_file_without_clip_leaves_it_as_it_is(tmp_path: Path) -> None:
    head, backbone, path = make(tmp_path, published())
    before = backbone.conv1.weight.clone()
    load_fcclip(head, backbone, path)
    assert torch.equal(backbone.conv1.weight, before)
    assert backbone.clip.random_parts


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("void_embedding.weight", None, "without classifier.void"),
        (
            "sem_seg_head.predictor.query_feat.weight",
            torch.zeros(250, 64),
            "with other shapes of sem_seg_head.predictor.query_feat.weight",
        ),
        (
            "sem_seg_head.predictor.more",
            torch.zeros(1),
            "with unknown sem_seg_head.predictor.more",
        ),
        ("proposal_generator.bias", torch.zeros(1), "with unknown proposal_generator.bias"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(
    tmp_path: Path, name: str, value: Tensor | None, message: str
) -> None:
    state = published()
    state.pop(name, None)
    if value is not None:
        state[name] = value
    head, backbone, path = make(tmp_path, state)
    with pytest.raises(ValueError, match=message):
        load_fcclip(head, backbone, path)
    assert head.untrained


@pytest.mark.parametrize("content", [b"no zip", {"model": [1, 2]}, {"a": "b"}])
def test_other_files_are_refused(tmp_path: Path, content: Any) -> None:
    head, backbone, path = make(tmp_path, content)
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"expected a (checkpoint of FC-CLIP|state_dict)"):
        load_fcclip(head, backbone, path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    head, backbone, path = make(tmp_path, {})
    with pytest.raises(FileNotFoundError, match="expected a checkpoint of FC-CLIP, got none at"):
        load_fcclip(head, backbone, path.with_name("other.pth"))
