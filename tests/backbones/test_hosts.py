"""The models people already have, with swapped children: the result is the masked dense one."""

from __future__ import annotations

import copy

import open_clip
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead, DeepLabV3

from sparse_ovs import sparsify
from sparse_ovs.nn import SparseConv2d, SparseMultiheadAttention
from sparse_ovs.profiling import max_relative_error
from sparse_ovs.profiling.random_weights import calibrate_random_weights
from support.models import assert_same_maps, masked_dense


def _count(model: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


def test_timm_knows_the_sparse_model_with_its_feature_contract() -> None:
    assert timm.is_model("sparse_resnet50_clip")
    model = timm.create_model(
        "sparse_resnet50_clip", density=0.1, features_only=True, out_indices=(1, 2, 3, 4)
    ).eval()
    assert model.feature_info.channels() == [256, 512, 1024, 2048]
    assert model.feature_info.reduction() == [4, 8, 16, 32]
    assert _count(model, SparseConv2d) == 52
    assert_same_maps(model, torch.randn(1, 3, 64, 96))


def test_the_whole_timm_model_keeps_its_members() -> None:
    model = timm.create_model("sparse_resnet50_clip", density=0.1, num_classes=7).eval()
    assert model.pretrained_cfg["input_size"] == (3, 224, 224)
    _, maps = model.forward_intermediates(torch.randn(1, 3, 64, 64))
    assert len(maps) == 5
    model.reset_classifier(3)
    with torch.no_grad():
        assert model(torch.randn(1, 3, 224, 224)).shape == (1, 3)


def test_smp_takes_the_encoder_by_name() -> None:
    model = smp.UPerNet(
        "tu-sparse_resnet50_clip", encoder_weights=None, classes=5, density=0.1
    ).eval()
    assert model.encoder.out_channels == [3, 64, 256, 512, 1024, 2048]
    assert _count(model.encoder, SparseConv2d) == 52
    calibrate_random_weights(model, torch.randn(2, 3, 64, 64))
    assert_same_maps(model, torch.randn(2, 3, 64, 96), limit=1e-4)


def test_smp_dilates_the_encoder() -> None:
    model = smp.DeepLabV3(
        "tu-sparse_resnet50_clip",
        encoder_weights=None,
        encoder_output_stride=16,
        classes=5,
        density=0.1,
    ).eval()
    assert_same_maps(model, torch.randn(1, 3, 64, 64), limit=1e-4)


def test_torchvision_s_deeplabv3_takes_it_as_a_dict_of_maps() -> None:
    class Adapter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = timm.create_model(
                "sparse_resnet50_clip", density=0.1, features_only=True, feature_cls="dict"
            )

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"out": list(self.trunk(x).values())[-1]}

    model = DeepLabV3(Adapter(), DeepLabHead(2048, 5)).eval()
    calibrate_random_weights(model, torch.randn(2, 3, 64, 64))
    assert _count(model, SparseConv2d) == 52
    assert_same_maps(model, torch.randn(1, 3, 64, 64), limit=1e-4)


@pytest.mark.parametrize("fold_bn", [False, "eval"])
def test_open_clip_s_encode_image_gives_the_masked_dense_embedding(fold_bn: object) -> None:
    model = open_clip.create_model("RN50", load_weights=False).eval()
    x = torch.randn(1, 3, 224, 224)
    calibrate_random_weights(model.visual, x)
    sparsify(
        model.visual,
        density=0.1,
        exclude=["conv?"],
        engine="native",
        fold_bn=fold_bn,  # type: ignore[arg-type]
    )
    assert _count(model.visual.layer4, SparseConv2d) == 10
    with torch.no_grad():
        ours = model.encode_image(x)
        theirs = masked_dense(model).encode_image(x)
    assert ours.shape == (1, 1024)
    assert max_relative_error([ours], [theirs]) <= 1e-4


def test_open_clip_s_vit_gives_the_masked_dense_embedding() -> None:
    model = open_clip.create_model("ViT-B-16", load_weights=False).eval()
    sparsify(model.visual, density=0.1, engine="native")
    assert _count(model.visual, SparseMultiheadAttention) == 12
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        ours = model.encode_image(x)
        theirs = masked_dense(model).encode_image(x)
    assert max_relative_error([ours], [theirs]) <= 1e-4


def test_a_dense_open_clip_state_dict_still_loads_into_the_swapped_model() -> None:
    model = open_clip.create_model("RN50", load_weights=False).eval()
    dense = copy.deepcopy(model.state_dict())
    sparsify(model.visual, density=0.1, fold_bn="eval")
    model.load_state_dict(dense)
    key = "visual.layer1.0.conv1.weight"
    mask = model.visual.layer1[0].conv1.mask
    assert torch.equal(model.state_dict()[key], dense[key] * mask)
