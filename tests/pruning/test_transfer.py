"""One subnetwork in every framework: the same masks give the same features, to the bit."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone, default_scope
from sparse_ovs.backbones.layer_names import framework_name
from sparse_ovs.nn import named_weights
from sparse_ovs.pruning import MaskInfo, magnitude_masks, masks
from support.models import assert_same_maps

INFO = MaskInfo("RN50 random", "unstructured", "magnitude global", "one-shot", None, "original")
STEM = ["conv1", "conv2", "conv3"]


class FcClipLike(nn.Module):
    """The encoder at `backbone.clip_model.visual`, whose children are called one by one, as fc-clip
    does; gives a dict of maps."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.clip_model = nn.Module()
        self.backbone.clip_model.visual = visual
        self.sem_seg_head = nn.Conv2d(2048, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        visual = self.backbone.clip_model.visual
        for index in (1, 2, 3):
            conv, norm, act = (getattr(visual, f"{kind}{index}") for kind in ("conv", "bn", "act"))
            x = act(norm(conv(x)))
        x = visual.avgpool(x)
        maps = {}
        for stage in (1, 2, 3, 4):
            x = getattr(visual, f"layer{stage}")(x)
            maps[f"res{stage + 1}"] = x
        return maps


@pytest.fixture(scope="module")
def mask_file(rn50: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mask made on open_clip's RN50."""
    path = tmp_path_factory.mktemp("masks") / "rn50.safetensors"
    made = magnitude_masks(named_weights(rn50, default_scope(rn50)), density=0.3)
    masks.save(path, made, INFO)
    return path


@pytest.fixture(scope="module")
def expected(rn50: Backbone, mask_file: Path, photo: Tensor) -> list[Tensor]:
    """Maps of the masked RN50 of open_clip."""
    model = copy.deepcopy(rn50)
    masks.apply(model, masks.load(mask_file).masks)
    with torch.no_grad():
        maps, dense = model(photo), rn50(photo)
    assert not any(torch.equal(a, b) for a, b in zip(maps, dense, strict=True))
    return maps


def _timm_twin(backbone: Backbone) -> nn.Module:
    """timm's resnet50_clip with the same convolutions and BatchNorms, found by the name map."""
    model = timm.create_model("resnet50_clip", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    for name in [*default_scope(backbone), *STEM]:
        parent, _, leaf = name.rpartition(".")
        norm = "1" if leaf == "0" else leaf.replace("conv", "bn")
        theirs = framework_name(name, "timm_features")
        model.get_submodule(theirs).load_state_dict(backbone.get_submodule(name).state_dict())
        model.get_submodule(theirs.removesuffix("conv") + "bn").load_state_dict(
            backbone.get_submodule(f"{parent}.{norm}".lstrip(".")).state_dict()
        )
    return model


@torch.no_grad()
def test_a_mask_of_open_clip_s_rn50_gives_identical_features_in_timm_s_and_goes_back(
    rn50: Backbone, mask_file: Path, expected: list[Tensor], photo: Tensor, tmp_path: Path
) -> None:
    made = masks.load(mask_file).masks
    model = _timm_twin(rn50)
    theirs = masks.apply(model, made)
    assert list(theirs) == [framework_name(name, "timm_features") for name in made]
    assert all(torch.equal(a, b) for a, b in zip(model(photo), expected, strict=True))

    masks.save(tmp_path / "back.safetensors", theirs, INFO)
    back = masks.load(tmp_path / "back.safetensors").masks
    again = copy.deepcopy(rn50)
    masks.apply(again, back)
    assert all(torch.equal(back[name], mask) for name, mask in made.items())
    assert all(torch.equal(a, b) for a, b in zip(again(photo), expected, strict=True))


@torch.no_grad()
def test_the_mask_gives_identical_features_in_a_tree_named_like_fc_clip_s_and_goes_back(
    rn50: Backbone, mask_file: Path, expected: list[Tensor], photo: Tensor
) -> None:
    made = masks.load(mask_file).masks
    visual = copy.deepcopy(rn50.clip.visual)
    model = FcClipLike(visual)
    theirs = masks.apply(model, made)
    assert list(theirs) == list(masks.export(made, "fc-clip"))
    maps = model(photo)
    assert list(maps) == ["res2", "res3", "res4", "res5"]
    assert all(torch.equal(a, b) for a, b in zip(maps.values(), expected, strict=True))

    again = copy.deepcopy(rn50)
    assert list(masks.apply(again, theirs)) == list(made)
    assert all(torch.equal(a, b) for a, b in zip(again(photo), expected, strict=True))


def test_a_backbone_is_created_with_a_mask_file(mask_file: Path, photo: Tensor) -> None:
    made = masks.load(mask_file).masks
    backbone = create_backbone("RN50", mask=mask_file, engine="native")
    assert backbone.report is not None
    for name, mask in made.items():
        assert torch.equal(backbone.get_submodule(name).mask, mask)
    assert_same_maps(backbone, photo)


def test_timm_s_sparse_model_is_created_with_a_mask_file(mask_file: Path) -> None:
    model = timm.create_model("sparse_resnet50_clip", mask=mask_file)
    for name, mask in masks.export(masks.load(mask_file).masks, "timm").items():
        assert torch.equal(model.get_submodule(name).mask, mask)


def test_a_mask_file_of_another_model_is_refused_with_all_its_layers(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    wrong = {
        "layer1.0.conv1": torch.ones(1, 1, 1, 1, dtype=torch.bool),
        "layer1.9.conv1": torch.ones(64, 64, 1, 1, dtype=torch.bool),
    }
    masks.save(path, wrong, INFO)
    with pytest.raises(ValueError, match=r"got 2 that do not: layer1\.0\.conv1 .*layer1\.9\.conv1"):
        create_backbone("RN50", mask=path)
