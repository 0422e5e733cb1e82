"""One name for a layer, whatever framework holds it; checked on the real models."""

from __future__ import annotations

import open_clip
import pytest
import timm
import torch

from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone, default_scope
from sparse_ovs.backbones.layer_names import FRAMEWORKS, canonical_name, framework_name
from sparse_ovs.nn import named_weights
from sparse_ovs.nn.named_weights import weight_owners

STEM = ["conv1", "conv2", "conv3"]


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("layer1.0.conv1", "layer1.0.conv1"),
        ("visual.layer4.2.conv3", "layer4.2.conv3"),
        ("backbone.clip_model.visual.layer2.0.downsample.0", "layer2.0.downsample.0"),
        ("module.backbone.layer3.5.conv2", "layer3.5.conv2"),
        ("stages.0.0.conv1_1x1.conv", "layer1.0.conv1"),
        ("encoder.model.stages_3.2.conv2_kxk.conv", "layer4.2.conv2"),
        ("stages.1.0.shortcut.conv.conv", "layer2.0.downsample.0"),
        ("visual.conv2", "conv2"),
        ("module.conv2", "conv2"),
        ("module._orig_mod.blocks.0.conv_pw", "blocks.0.conv_pw"),
        ("stem.conv2.conv", "conv2"),
        ("stem_conv3.conv", "conv3"),
        ("visual.transformer.resblocks.11.attn.in_proj", "transformer.resblocks.11.attn.in_proj"),
        ("transformer.resblocks.0.mlp.c_fc", "transformer.resblocks.0.mlp.c_fc"),
        ("visual.trunk.stages.2.blocks.8.mlp.fc1", "stages.2.blocks.8.mlp.fc1"),
        ("stages_1.downsample.1", "stages.1.downsample.1"),
        ("model.encoder.encoder.stages.0.layers.2.layer.0.convolution", "layer1.2.conv1"),
        ("encoder.stages.3.layers.0.shortcut.convolution", "layer4.0.downsample.0"),
        ("clip.vision_model.encoder.layers.11.mlp.fc1", "encoder.layers.11.mlp.fc1"),
        ("encoder.swin.encoder.layers.2.blocks.0.mlp.fc1", "encoder.layers.2.blocks.0.mlp.fc1"),
        # Of nothing known: a stem's name is too short to be one below other paths.
        ("decoder.conv1", "decoder.conv1"),
        ("text_model.encoder.layers.0.mlp.fc1", "text_model.encoder.layers.0.mlp.fc1"),
        ("decoder.encoder.layers.0.self_attn.q_proj", "decoder.encoder.layers.0.self_attn.q_proj"),
        ("blocks.0.0.conv_pw", "blocks.0.0.conv_pw"),
        ("player1.0.conv1", "player1.0.conv1"),
        ("stages.0.0.conv1_3x3.conv", "stages.0.0.conv1_3x3.conv"),
        ("layer1.0.conv1.extra", "layer1.0.conv1.extra"),
        ("", ""),
    ],
)
def test_a_name_of_any_framework_becomes_the_backbone_s_own(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("backbone", "layer2.0.downsample.0"),
        ("open_clip", "visual.layer2.0.downsample.0"),
        ("timm", "stages.1.0.shortcut.conv.conv"),
        ("timm_features", "stages_1.0.shortcut.conv.conv"),
        ("fc-clip", "backbone.clip_model.visual.layer2.0.downsample.0"),
    ],
)
def test_a_layer_has_its_name_in_each_framework(names: str, expected: str) -> None:
    assert framework_name("layer2.0.downsample.0", names) == expected


@pytest.mark.parametrize("names", list(FRAMEWORKS))
def test_names_survive_the_way_through_a_framework(rn50: Backbone, names: str) -> None:
    for name in [*default_scope(rn50), *STEM, "stages.0.blocks.1.mlp.fc2"]:
        assert canonical_name(framework_name(name, names)) == name


@pytest.mark.parametrize(
    ("names", "features"), [("timm", False), ("timm_features", True)], ids=["whole", "features"]
)
def test_timm_s_resnet_has_a_layer_of_the_same_shape_under_every_name(
    rn50: Backbone, names: str, features: bool
) -> None:
    with torch.device("meta"):
        model = timm.create_model("resnet50_clip", features_only=features)
    theirs = {
        name: getattr(*owner).shape
        for name, owner in weight_owners(model).items()
        if not name.startswith("head")
    }
    ours = named_weights(rn50, [*default_scope(rn50), *STEM])
    assert len(ours) == 55
    assert {framework_name(n, names): w.shape for n, w in ours.items()} == theirs


def test_open_clip_s_models_have_the_layers_of_our_backbones() -> None:
    for name in ("ViT-B-32", "convnext_tiny"):
        with torch.device("meta"):
            model = open_clip.model.CLIP(**open_clip.get_model_config(name))
        backbone = create_backbone(name)
        owners = weight_owners(model)
        for layer, weight in named_weights(backbone, default_scope(backbone)).items():
            module, parameter = owners[framework_name(layer, "open_clip")]
            assert getattr(module, parameter).shape == weight.shape


def test_an_unknown_framework_and_a_layer_that_one_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected the names of one of .* got 'keras'"):
        framework_name("layer1.0.conv1", "keras")
    with pytest.raises(ValueError, match="expected a layer that timm has a name for, got 'head'"):
        framework_name("head", "timm")
