"""Masks from mappings and files, and where they belong in models of every framework."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from sparse_ovs.backbones import fit_masks, load_masks, rename_masks
from support.oracles import random_mask
from support.trees import tree

NAMES = ["layer1.0.conv1", "layer1.0.downsample.0"]
PLACES = {
    "backbone": NAMES,
    "open_clip": [f"visual.{name}" for name in NAMES],
    "timm": ["stages.0.0.conv1_1x1.conv", "stages.0.0.shortcut.conv.conv"],
    "timm_features": ["stages_0.0.conv1_1x1.conv", "stages_0.0.shortcut.conv.conv"],
    "fc-clip": [f"backbone.clip_model.visual.{name}" for name in NAMES],
}


def _model(names: list[str]) -> nn.Module:
    return tree({name: nn.Conv2d(4, 6, 1) for name in names} | {"text.proj": nn.Linear(3, 3)})


def _masks(names: list[str] = NAMES) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {name: torch.rand(6, 4, 1, 1, generator=random) < 0.5 for name in names}


def _assert_same(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(ours) == list(expected)
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


@pytest.mark.parametrize("source", PLACES)
@pytest.mark.parametrize("target", PLACES)
def test_masks_named_by_any_framework_fit_a_model_of_any_other(source: str, target: str) -> None:
    fitted = fit_masks(_model(PLACES[target]), _masks(PLACES[source]))
    _assert_same(fitted, _masks(PLACES[target]))


@pytest.mark.parametrize("target", PLACES)
def test_masks_are_given_out_under_every_framework_s_names(target: str) -> None:
    _assert_same(rename_masks(_masks(), target), _masks(PLACES[target]))


def test_layers_without_a_mask_are_left_out() -> None:
    assert list(fit_masks(_model(NAMES), _masks(NAMES[:1]))) == NAMES[:1]


def test_names_of_no_framework_fit_as_they_are() -> None:
    model = tree({"blocks.0.conv_pw": nn.Conv2d(4, 6, 1)})
    _assert_same(fit_masks(model, _masks(["blocks.0.conv_pw"])), _masks(["blocks.0.conv_pw"]))


def test_everything_that_does_not_fit_is_told_at_once() -> None:
    model = tree(
        {
            "layer1.0.conv1": nn.Conv2d(4, 6, 3),
            "a.layer1.0.conv2": nn.Conv2d(4, 6, 1),
            "b.layer1.0.conv2": nn.Conv2d(4, 6, 1),
            "layer1.0.conv3": nn.Conv2d(4, 6, 1),
        }
    )
    masks = _masks(["layer1.0.conv1", "layer1.0.conv2", "layer1.0.conv3", "layer9.x"])
    with pytest.raises(ValueError) as error:
        fit_masks(model, masks)
    assert str(error.value) == (
        "expected masks that fit the layers of the model, got 3 that do not: "
        "layer1.0.conv1 (a mask of (6, 4, 1, 1) for (6, 4, 3, 3)), "
        "layer1.0.conv2 (a.layer1.0.conv2 and b.layer1.0.conv2), "
        "layer9.x (no such layer)"
    )


def test_of_two_towers_the_image_tower_is_meant() -> None:
    layer = "transformer.resblocks.0.attn"
    model = tree(
        {layer: nn.MultiheadAttention(4, 2), f"visual.{layer}": nn.MultiheadAttention(8, 2)}
    )
    masks = {
        f"{layer}.in_proj": random_mask((24, 8), 0.5),
        f"{layer}.out_proj": random_mask((8, 8), 0.5),
    }
    fitted = fit_masks(model, masks)
    assert list(fitted) == [f"visual.{layer}.in_proj", f"visual.{layer}.out_proj"]


def test_a_layer_that_a_model_holds_twice_is_one_layer() -> None:
    model = _model(NAMES)
    model.alias = model.layer1
    assert list(fit_masks(model, _masks())) == NAMES


def test_masks_come_from_a_mapping_with_or_without_suffixes() -> None:
    mask = random_mask((64, 64, 1, 1), 0.3)
    for key in ("layer1.0.conv1", "layer1.0.conv1.weight", "visual.layer1.0.conv1.weight_mask"):
        for given in (mask, mask.float(), mask.to(torch.uint8)):
            _assert_same(load_masks({key: given}), {"layer1.0.conv1": mask})


def test_masks_come_from_files_of_others(tmp_path: Path) -> None:
    mask = random_mask((64, 64, 1, 1), 0.3)
    opentrans = tmp_path / "masks.pth"
    key = "layer1.0.conv1.weight_mask"
    torch.save({"backbone": {key: mask.float(), "layer1.0.conv1.weight_orig": mask}}, opentrans)
    _assert_same(load_masks(opentrans), {"layer1.0.conv1": mask})

    tensors = tmp_path / "masks.safetensors"
    safetensors.torch.save_file({f"visual.{key}": mask}, tensors)
    _assert_same(load_masks(tensors), {"layer1.0.conv1": mask})


def test_bad_masks_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a file of masks, got none at "):
        load_masks(tmp_path / "no.pth")
    with pytest.raises(ValueError, match="expected a mask of 0 and 1 for a, got other values"):
        load_masks({"a": torch.tensor([0.5])})
    with pytest.raises(ValueError, match="expected masks by layer name, got none"):
        load_masks({})
    twice = _masks(["visual.layer1.0.conv1", "stages.0.0.conv1_1x1.conv"])
    with pytest.raises(ValueError, match=r"expected one mask for layer1\.0\.conv1, got another"):
        load_masks(twice)
