"""swap_backbone on transformers' own models, built small from their configs, of random weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

from sparse_ovs.backbones import fit_masks
from sparse_ovs.backbones.hosts import find_encoder
from sparse_ovs.backbones.swap import swap_backbone
from sparse_ovs.nn import SparseConv2d, SparseLinear, SparseMultiheadAttention
from support import host_trees
from support.models import masked_dense
from support.oracles import assert_as_exact_as_torch, random_mask

SPARSE = (SparseConv2d, SparseLinear, SparseMultiheadAttention)
_TOKENS = torch.tensor([[1, 5, 9, 2], [1, 7, 2, 2]])
_SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
_VISION = {**_SIZES, "num_hidden_layers": 3, "image_size": 64, "patch_size": 16}
_TEXT = {
    **_SIZES,
    "num_hidden_layers": 1,
    "vocab_size": 10,
    "max_position_embeddings": 4,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_STAGES = ["stage1", "stage2", "stage3", "stage4"]


def _clip_vision() -> nn.Module:
    return hf.CLIPVisionModel(hf.CLIPVisionConfig(**_VISION))


def _clip() -> nn.Module:
    config = hf.CLIPConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=16)
    return hf.CLIPModel(config)


def _clipseg() -> nn.Module:
    config = hf.CLIPSegConfig(
        text_config=_TEXT,
        vision_config=_VISION,
        projection_dim=16,
        extract_layers=[0, 1, 2],
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )
    return hf.CLIPSegForImageSegmentation(config)


def _mask2former(backbone: Any, kind: Any = hf.Mask2FormerForUniversalSegmentation) -> nn.Module:
    config = hf.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=32,
        num_queries=5,
        num_labels=3,
        train_num_points=16,
    )
    return kind(config)


def _swin() -> nn.Module:
    return _mask2former(
        hf.SwinConfig(
            image_size=64,
            embed_dim=16,
            depths=[1, 2, 1, 1],
            num_heads=[1, 2, 2, 4],
            window_size=2,
            out_features=_STAGES,
        )
    )


def _resnet_config(**sizes: Any) -> Any:
    small = {"embedding_size": 16, "hidden_sizes": [32, 64, 64, 128], "depths": [1, 1, 1, 1]}
    return hf.ResNetConfig(**(sizes or small), out_features=_STAGES)


def _timm_config(name: str) -> Any:
    return hf.TimmBackboneConfig(
        backbone=name, use_pretrained_backbone=False, out_indices=[1, 2, 3, 4]
    )


def _vision_maps(model: nn.Module, x: Tensor) -> list[Tensor]:
    out = model(pixel_values=x)
    return [out.last_hidden_state, out.pooler_output]


def _clip_maps(model: nn.Module, x: Tensor) -> list[Tensor]:
    out = model(input_ids=_TOKENS, pixel_values=x)
    return [out.logits_per_image, out.image_embeds, out.text_embeds]


def _seg_maps(model: nn.Module, x: Tensor) -> list[Tensor]:
    return [model(input_ids=_TOKENS, pixel_values=x).logits]


def _mask_maps(model: nn.Module, x: Tensor) -> list[Tensor]:
    out = model(pixel_values=x, output_hidden_states=True)
    return [*out.encoder_hidden_states, out.class_queries_logits, out.masks_queries_logits]


def _square(maps: Callable[[nn.Module, Tensor], list[Tensor]]) -> Callable[..., Tensor]:
    def loss(model: nn.Module, x: Tensor) -> Tensor:
        return torch.stack([m.square().mean() for m in maps(model, x)]).sum()

    return loss


def _clip_loss(model: nn.Module, x: Tensor) -> Tensor:
    return model(input_ids=_TOKENS, pixel_values=x, return_loss=True).loss


def _seg_loss(model: nn.Module, x: Tensor) -> Tensor:
    labels = (x[:, 0] > 0).to(x.dtype)
    return model(input_ids=_TOKENS, pixel_values=x, labels=labels).loss


def _mask_loss(model: nn.Module, x: Tensor) -> Tensor:
    """Its points are drawn at random."""
    masks = torch.stack([x[:, 0] > 0, x[:, 0] <= 0], 1).to(x.dtype)
    classes = [torch.tensor([0, 2])] * len(x)
    return model(pixel_values=x, mask_labels=list(masks), class_labels=classes).loss.sum()


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    maps: Callable[[nn.Module, Tensor], list[Tensor]]
    loss: Callable[[nn.Module, Tensor], Tensor]
    encoder: str
    family: str
    layers: int


_PIXELS = "model.pixel_level_module.encoder"
CASES = {
    "CLIPVisionModel": Case(_clip_vision, _vision_maps, _square(_vision_maps), "", "ViT", 18),
    "CLIPModel": Case(_clip, _clip_maps, _clip_loss, "vision_model", "ViT", 18),
    "CLIPSeg": Case(_clipseg, _seg_maps, _seg_loss, "clip.vision_model", "ViT", 18),
    "Mask2Former, Swin": Case(_swin, _mask_maps, _mask_loss, _PIXELS, "Swin", 30),
    "Mask2Former, ResNet": Case(
        lambda: _mask2former(_resnet_config()), _mask_maps, _mask_loss, _PIXELS, "ResNet", 16
    ),
    "Mask2Former, timm's ResNet": Case(
        lambda: _mask2former(_timm_config("test_resnet")),
        _mask_maps,
        _mask_loss,
        f"{_PIXELS}._backbone",
        "ResNet",
        12,
    ),
}


@pytest.fixture(scope="module", params=CASES)
def swapped(request: pytest.FixtureRequest) -> tuple[Case, nn.Module, nn.Module, Any]:
    """The case, the dense model, the swapped one, and the report."""
    torch.manual_seed(0)
    model = host_trees.lively(CASES[request.param].make())
    dense = copy.deepcopy(model)
    report = swap_backbone(model, density=0.3, engine="native")
    return CASES[request.param], dense, model, report


def _images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_the_encoder_is_found_where_the_model_keeps_it(swapped: Any) -> None:
    case, _, _, report = swapped
    assert (report.encoder, report.family) == (case.encoder, case.family)
    assert report.host == "timm or an encoder" or report.host.startswith("transformers' ")
    native = [layer.name for layer in report.layers.layers if layer.backend == "native"]
    assert len(native) == case.layers


def test_only_the_blocks_of_the_encoder_are_swapped(swapped: Any) -> None:
    case, _, model, report = swapped
    sparse = [name for name, module in model.named_modules() if isinstance(module, SPARSE)]
    prefix = f"{case.encoder}." if case.encoder else ""
    assert len(sparse) == case.layers
    assert all(name.startswith(prefix) for name in sparse)
    for layer in report.layers.layers:
        inside = any(part in layer.name for part in (".layers.", ".stages.", "layer"))
        if "embed" in layer.name or "downsample.reduction" in layer.name or not inside:
            assert layer.backend == "dense"
            assert layer.reason


def test_keys_and_the_other_weights_stay_as_they_were(swapped: Any) -> None:
    _, dense, model, _ = swapped
    before, after = dense.state_dict(), model.state_dict()
    assert list(before) == list(after)
    sparse = {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, SPARSE)}
    assert {key for key in before if not torch.equal(before[key], after[key])} == sparse
    copy.deepcopy(model).load_state_dict(before)


def test_the_model_computes_what_it_would_with_masked_dense_weights(swapped: Any) -> None:
    case, _, model, _ = swapped
    model = copy.deepcopy(model).eval()
    dense, x = masked_dense(model), _images()
    with torch.no_grad():
        ours, fp32 = case.maps(model, x), case.maps(dense, x)
        fp64 = case.maps(dense.double(), x.double())
    for mine, theirs, exact in zip(ours, fp32, fp64, strict=True):
        assert float(exact.abs().max()) > 0
        assert_as_exact_as_torch(mine, exact, theirs)


def test_a_step_of_training_is_that_of_the_masked_dense_model(swapped: Any) -> None:
    case, _, model, _ = swapped
    model = copy.deepcopy(model).train()
    masks = {name: m.mask for name, m in model.named_modules() if isinstance(m, SparseLinear)}
    masks |= {name: m.mask for name, m in model.named_modules() if isinstance(m, SparseConv2d)}
    twin, x = masked_dense(model).train(), _images()
    losses = []
    for one in (model, twin):
        torch.manual_seed(2)  # of drop paths and points
        loss = case.loss(one, x)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    theirs = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert theirs[name].grad is None
            continue
        mask = masks.get(name.removesuffix(".weight"), torch.ones_like(parameter, dtype=torch.bool))
        expected = torch.where(mask, theirs[name].grad, 0.0)
        scale = float(expected.abs().max())
        assert float((parameter.grad - expected).abs().max()) <= 2e-3 * scale + 1e-6, name
    torch.optim.AdamW(model.parameters(), 1e-2).step()
    for name, mask in masks.items():
        weight = model.get_submodule(name).weight
        assert not bool(weight[~mask].any())
        assert bool(weight[mask].any())


def test_masks_by_the_whole_models_names_fit_the_image_tower_alone() -> None:
    model = _clip()
    layer = "vision_model.encoder.layers.0.self_attn.q_proj"
    mask = random_mask((32, 32), 0.5)
    for name in (layer, f"clip.{layer}", layer.removeprefix("vision_model.")):
        assert list(fit_masks(model, {name: mask})) == [layer]
    swap_backbone(model, masks={layer: mask})
    assert torch.equal(model.get_submodule(layer).mask, mask)


def test_masks_of_a_resnet_by_another_frameworks_names_fit() -> None:
    model = _mask2former(_resnet_config())
    mask = random_mask((32, 32, 3, 3), 0.5)
    swap_backbone(model, masks={"visual.layer4.0.conv2": mask})
    stage = model.model.pixel_level_module.encoder.encoder.stages[3]
    assert torch.equal(stage.layers[0].layer[1].convolution.mask, mask)


def test_models_without_their_heads_and_with_a_wrapper_are_found() -> None:
    bare = _mask2former(_resnet_config(), hf.Mask2FormerModel)
    assert find_encoder(bare).path == "pixel_level_module.encoder"
    projected = hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(**_VISION))
    assert find_encoder(nn.ModuleDict({"module": projected})).path == "module.vision_model"


def test_a_text_tower_of_transformers_is_no_encoder() -> None:
    with pytest.raises(ValueError, match="expected a model with an image encoder"):
        find_encoder(hf.CLIPTextModel(hf.CLIPTextConfig(**_TEXT)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "config", [lambda: _timm_config("resnet50"), lambda: _resnet_config(depths=[3, 4, 6, 3])]
)
def test_all_52_convolutions_of_the_blocks_of_resnet_50_are_swapped(config: Any) -> None:
    report = swap_backbone(_mask2former(config()), density=0.1, engine="native")
    assert sum(layer.backend == "native" for layer in report.layers.layers) == 52
