"""Dilated CLIP ResNets: the strided network's values on its grid, at a higher resolution."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

import sparse_ovs
from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone, default_scope
from sparse_ovs.profiling import max_relative_error
from support.models import assert_same_maps, masked_dense
from support.small_clips import DEEP_RN, VIT, small_backbone


def pair(output_stride: int, **options: object) -> tuple[Backbone, Backbone]:
    """A strided backbone and its dilated twin, of equal weights."""
    strided = small_backbone(DEEP_RN, **options)
    dilated = create_backbone(DEEP_RN, output_stride=output_stride)
    dilated.load_state_dict(strided.state_dict())
    return strided, dilated


@torch.no_grad()
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [(64, 64), (96, 160), (32, 224)])
def test_the_strided_maps_are_the_dilated_ones_on_their_grid(
    output_stride: int, size: tuple[int, int]
) -> None:
    strided, dilated = (backbone.double() for backbone in pair(output_stride))
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    for coarse, fine in zip(strided(x), dilated(x), strict=True):
        step = fine.shape[2] // coarse.shape[2]
        assert coarse.abs().max() > 0
        torch.testing.assert_close(fine[..., ::step, ::step], coarse, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_other_positions_are_those_of_the_image_shifted() -> None:
    strided, dilated = (backbone.double() for backbone in pair(16))
    x = torch.randn(1, 3, 256, 256, dtype=torch.float64)
    coarse = strided(x.roll((-16, -16), (2, 3)))[-1]
    # Near the border the rolled image is another one: what is compared sees none of it.
    fine = dilated(x)[-1][..., 1::2, 1::2]
    torch.testing.assert_close(fine[..., 3:4, 3:4], coarse[..., 3:4, 3:4])


@pytest.mark.parametrize(
    ("output_stride", "strides"), [(8, [4, 8, 8, 8]), (16, [4, 8, 16, 16]), (32, [4, 8, 16, 32])]
)
def test_maps_have_the_announced_strides(output_stride: int, strides: list[int]) -> None:
    backbone = small_backbone(DEEP_RN, output_stride=output_stride)
    assert backbone.feature_info.reduction() == strides
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, 96, 64))
    assert [96 // m.shape[2] for m in maps] == strides


def test_the_scope_of_pruning_and_the_weights_names_stay() -> None:
    strided, dilated = pair(8)
    assert default_scope(dilated) == default_scope(strided)
    assert list(dilated.state_dict()) == list(strided.state_dict())


@pytest.mark.parametrize("output_stride", [8, 16])
def test_sparse_modules_give_the_masked_dense_maps(output_stride: int) -> None:
    backbone = small_backbone(DEEP_RN, 0.3, output_stride=output_stride, engine="native")
    assert_same_maps(backbone, torch.randn(2, 3, 96, 64))


@torch.no_grad()
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_a_compiled_encoder_gives_the_masked_dense_maps_without_torch(
    output_stride: int, size: tuple[int, int]
) -> None:
    backbone = small_backbone(DEEP_RN, 0.3, output_stride=output_stride)
    x = torch.randn(1, 3, *size)
    fast = sparse_ovs.compile(backbone, x)
    assert max_relative_error(fast(x), masked_dense(backbone)(x)) <= 2e-5
    rows = fast.plan_for(x).rows()
    assert not [row for row in rows if row.backend == "torch"]
    assert sum(row.op.startswith("mean 2x2 / 1x1") for row in rows) == (4, 2)[output_stride // 16]


@torch.no_grad()
def test_a_plan_file_holds_a_dilated_encoder(tmp_path) -> None:
    backbone = small_backbone(DEEP_RN, 0.3, output_stride=8)
    x = torch.randn(1, 3, 64, 96)
    fast = sparse_ovs.compile(backbone, x)
    fast.save(tmp_path / "plan")
    for loaded, own in zip(sparse_ovs.load_plan(tmp_path / "plan")(x), fast(x), strict=True):
        assert torch.equal(loaded, own)


def test_an_encoders_file_brings_its_output_stride(tmp_path) -> None:
    backbone = small_backbone(DEEP_RN, 0.3, output_stride=16)
    sparse_ovs.save(backbone, tmp_path / "encoder.safetensors")
    again = sparse_ovs.load(tmp_path / "encoder.safetensors")
    assert isinstance(again, Backbone)
    assert again.feature_info.reduction() == [4, 8, 16, 16]
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(again(x), backbone(x))


def test_a_dilated_encoder_has_gradients() -> None:
    backbone = small_backbone(DEEP_RN, 0.3, output_stride=8, engine="native")
    dense = masked_dense(backbone)
    x = torch.randn(1, 3, 64, 64)
    grads: list[Tensor] = []
    for model in (backbone, dense):
        sum(m.square().mean() for m in model(x)).backward()  # type: ignore[union-attr]
        grads.append(model.get_parameter("layer1.0.conv1.weight").grad)  # type: ignore[arg-type]
    mask = backbone.layer1[0].conv1.mask
    torch.testing.assert_close(grads[0][mask], grads[1][mask], rtol=1e-3, atol=1e-6)


def test_copies_of_a_dilated_encoder_are_dilated() -> None:
    backbone = small_backbone(DEEP_RN, output_stride=16)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(copy.deepcopy(backbone)(x), backbone(x), rtol=0, atol=0)


def test_other_families_refuse_an_output_stride() -> None:
    with pytest.raises(ValueError, match="expected a CLIP ResNet for output_stride 16, got 'small"):
        small_backbone(VIT, output_stride=16)


@pytest.mark.parametrize("output_stride", [4, 0, 64])
def test_other_output_strides_are_refused(output_stride: int) -> None:
    with pytest.raises(ValueError, match="expected an output_stride of 8, 16 or 32, got"):
        create_backbone(DEEP_RN, output_stride=output_stride)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(("output_stride", "size"), [(16, (800, 1216)), (8, (512, 512))])
def test_rn50_gives_the_masked_dense_maps(output_stride: int, size: tuple[int, int]) -> None:
    backbone = create_backbone("RN50", density=0.1, output_stride=output_stride, engine="native")
    assert_same_maps(backbone, torch.randn(1, 3, *size))
