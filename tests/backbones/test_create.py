"""create_backbone: timm's features_only contract over open_clip's encoders, sparse or dense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone, default_scope, load_density_profile
from sparse_ovs.patterns import kept_count
from support.models import assert_same_maps
from support.oracles import random_mask


def test_rn50_has_the_golden_sizes(rn50: Backbone) -> None:
    scope = default_scope(rn50)
    weights = [rn50.get_submodule(name).weight.numel() for name in scope]
    assert len(scope) == 52
    assert sum(weights) == 23_445_504
    assert sum(p.numel() for p in rn50.parameters()) == 23_527_264
    assert all(name.startswith("layer") for name in scope)


def test_the_feature_info_is_timms(rn50: Backbone) -> None:
    info = rn50.feature_info
    assert info.channels() == [256, 512, 1024, 2048]
    assert info.reduction() == [4, 8, 16, 32]
    assert info.module_name() == ["layer1", "layer2", "layer3", "layer4"]
    assert len(info) == 5
    assert info[0]["num_chs"] == 64
    assert info.get_dicts(keys=["reduction"]) == [{"reduction": r} for r in (4, 8, 16, 32)]


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (70, 75)])
def test_maps_have_the_announced_channels_and_strides_at_any_size(
    rn50: Backbone, size: tuple[int, int]
) -> None:
    with torch.no_grad():
        maps = rn50(torch.randn(2, 3, *size))
    shapes = [tuple(m.shape) for m in maps]
    channels, strides = rn50.feature_info.channels(), rn50.feature_info.reduction()
    up = ((size[0] + 1) // 2 * 2, (size[1] + 1) // 2 * 2)  # the first conv rounds up
    assert shapes == [
        (2, c, up[0] // s, up[1] // s) for c, s in zip(channels, strides, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(512, 512), (640, 640), (800, 1216)])
def test_large_and_wide_inputs_give_the_masked_dense_maps(
    sparse_rn50: Backbone, size: tuple[int, int]
) -> None:
    assert_same_maps(sparse_rn50, torch.randn(1, 3, *size))


def test_a_sparse_encoder_computes_what_its_masked_dense_twin_computes(
    sparse_rn50: Backbone, photo: Tensor
) -> None:
    assert sparse_rn50.report is not None
    assert sum(layer.backend == "native" for layer in sparse_rn50.report.layers) == 52
    assert_same_maps(sparse_rn50, photo)


@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
def test_masks_are_magnitude_masks_with_the_exact_count(pattern: str) -> None:
    backbone = create_backbone("RN50", density=0.1, pattern=pattern, fold_bn=True)
    for name in default_scope(backbone):
        layer = backbone.get_submodule(name)
        rows = 4 if pattern == "block4x1" else 1
        assert int(layer.mask.sum()) == rows * kept_count(0.1, layer.mask.numel() // rows)
        assert layer.block_rows == rows
    with torch.no_grad():
        backbone(torch.randn(1, 3, 64, 64))


def test_out_indices_choose_the_maps() -> None:
    backbone = create_backbone("RN50", out_indices=(0, 3))
    assert backbone.feature_info.channels() == [64, 1024]
    with torch.no_grad():
        assert [m.shape[-1] for m in backbone(torch.randn(1, 3, 64, 64))] == [32, 4]


@pytest.mark.parametrize("indices", [(5,), (-1,), (), (2, 1), (1, 1)])
def test_out_indices_that_name_no_feature_are_refused(indices: tuple[int, ...]) -> None:
    from sparse_ovs.backbones.resnet import ResNetTrunk
    from sparse_ovs.backbones.trunk import Backbone as Base

    trunk = Base.__new__(ResNetTrunk)
    with pytest.raises(ValueError, match=r"expected (out_indices from 0 to|rising out_indices)"):
        trunk._set_features([{"num_chs": 1, "reduction": 1, "module": "m"}] * 5, indices)


def test_clip_s_other_parts_come_along_and_follow(rn50: Backbone) -> None:
    clip = rn50.clip
    assert clip.attention_pool is not None
    assert clip.logit_scale.ndim == 0
    tokens = clip.tokenizer(["a photo of a cat", "a photo of a dog"])
    with torch.no_grad():
        assert clip.encode_text(tokens).shape == (2, 1024)
    assert not any(name.startswith("clip") for name in rn50.state_dict())
    assert rn50.preprocess is not None


def test_moving_the_trunk_moves_clip_s_other_parts() -> None:
    backbone = create_backbone("RN50").double()
    assert backbone.clip.logit_scale.dtype == torch.float64
    assert backbone.clip.attention_pool.positional_embedding.dtype == torch.float64


@pytest.mark.parametrize(
    ("name", "size", "stride", "channels"),
    [("ViT-S-32", (64, 96), 32, 384), ("convnext_tiny", (64, 96), 32, 768)],
)
def test_vit_and_convnext_are_backbones_too(
    name: str, size: tuple[int, int], stride: int, channels: int
) -> None:
    from sparse_ovs.profiling.random_weights import calibrate_random_weights

    backbone = create_backbone(name, density=0.2, engine="native")
    x = torch.randn(1, 3, *size)
    calibrate_random_weights(backbone, x)
    assert len(backbone.feature_info.channels()) == 4
    assert backbone.feature_info.reduction()[-1] == stride
    with torch.no_grad():
        assert backbone(x)[-1].shape == (1, channels, size[0] // stride, size[1] // stride)
    assert_same_maps(backbone, x)


@pytest.mark.slow
def test_vit_b_16_gives_four_maps_of_stride_16() -> None:
    backbone = create_backbone("ViT-B-16", density=0.1, engine="native")
    assert backbone.feature_info.reduction() == [16] * 4
    assert backbone.out_indices == (2, 5, 8, 11)
    assert_same_maps(backbone, torch.randn(1, 3, 224, 224))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("RN51",), ValueError, r"expected the name of an open_clip model, got 'RN51'; did you"),
        (("RN50", "nope"), ValueError, r"expected a path, or a tag of RN50 \(.*openai.*\), got"),
        (("RN50", "./no.pt"), FileNotFoundError, r"expected a file of weights, got none at \./no"),
        (("RN50", None, 0), ValueError, "expected a density with 0 < density <= 1, got 0"),
        (("RN50", None, 1.5), ValueError, r"expected a density with 0 < density <= 1, got 1\.5"),
        (("RN50", None, "lots"), TypeError, "expected a density as a number, got 'lots'"),
        (("RN50", None, 0.1, "4x1"), ValueError, "expected pattern 'unstructured'"),
    ],
)
def test_a_bad_argument_is_one_clear_line(
    arguments: tuple[object, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        create_backbone(*arguments)  # type: ignore[arg-type]


def test_the_trained_profile_keeps_its_own_density_in_each_layer(rn50: Backbone) -> None:
    scope = default_scope(rn50)
    densities = load_density_profile("trained", 0.1, scope)
    assert list(densities) == scope
    weights = {name: rn50.get_submodule(name).weight.numel() for name in scope}
    kept = sum(densities[name] * weights[name] for name in scope)
    assert kept / sum(weights.values()) == pytest.approx(0.1, abs=0.005)
    assert densities["layer1.0.conv1"] > densities["layer4.2.conv2"]


def test_a_profile_of_another_density_or_model_is_refused(rn50: Backbone) -> None:
    scope = default_scope(rn50)
    with pytest.raises(ValueError, match=r"expected one of the profile's densities \(0\.05, 0\.1"):
        load_density_profile("trained", 0.15, scope)
    with pytest.raises(ValueError, match=r"got one of another model: .* is missing"):
        load_density_profile("trained", 0.1, ["transformer.resblocks.0.attn"])
    with pytest.raises(ValueError, match=r"got one of another model: .* is unknown"):
        load_density_profile("trained", 0.1, scope[:3])


def test_a_profile_can_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps({"0.1": {"a": 0.2, "b": 0.05}}))
    assert load_density_profile(path, 0.1, ["a", "b"]) == {"a": 0.2, "b": 0.05}
    path.write_text("[1]")
    with pytest.raises(ValueError, match=r"expected JSON \{density: \{layer: density\}\}"):
        load_density_profile(path, 0.1, ["a", "b"])


def test_the_stem_of_a_file_of_opentrans_is_left_out_and_the_report_says_so(tmp_path: Path) -> None:
    dense = create_backbone("scenes-RN50")
    names = ("conv2", "layer1.0.conv1")
    weights = {name: dense.get_submodule(name).weight for name in names}
    masks = {f"{name}.weight_mask": torch.rand(w.shape) < 0.5 for name, w in weights.items()}
    torch.save({"backbone": masks}, tmp_path / "masks.pth")
    backbone = create_backbone("scenes-RN50", mask=tmp_path / "masks.pth")
    assert bool((backbone.conv2.weight != 0).all())
    assert torch.equal(backbone.layer1[0].conv1.weight != 0, masks["layer1.0.conv1.weight_mask"])
    (note,) = backbone.report.notes
    assert str(backbone.report).endswith(f"\n{note}")
    assert note.startswith("conv2: the file has masks for the stem")


def test_a_backbone_takes_a_mask_for_some_of_its_layers() -> None:
    mask = random_mask((64, 64, 1, 1), 0.3)
    backbone = create_backbone("RN50", mask={"layer1.0.conv1": mask}, engine="native")
    assert torch.equal(backbone.layer1[0].conv1.mask, mask)
    assert type(backbone.layer1[0].conv2) is torch.nn.Conv2d


def test_a_backbone_can_be_told_to_give_other_maps() -> None:
    backbone = create_backbone("RN50")
    backbone.select((0, 4))
    with torch.no_grad():
        assert [m.shape[1] for m in backbone(torch.randn(1, 3, 64, 64))] == [64, 2048]
    assert backbone.feature_info.channels() == [64, 2048]
    assert backbone.config["out_indices"] == [0, 4]
    with pytest.raises(ValueError, match="expected out_indices from 0 to 4"):
        backbone.select((5,))


def test_clip_says_which_parts_are_random(rn50: Backbone) -> None:
    assert rn50.clip.random_parts == ("image encoder", "image projection", "text tower")
