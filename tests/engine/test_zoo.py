"""Encoders of others, of every family: compiled without a change to them, with eager's outputs."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

import sparse_ovs
from support.models import maps_of

# Rounding differs in every layer; a deep network of random weights enlarges it.
_OF_TORCH, _OF_SCALE = 4.0, 1e-5

# By family: timm's name, pixels of a side, and what makes it small.
_QUICK: list[tuple[str, int, dict[str, object]]] = [
    ("resnet18", 64, {}),
    ("vit_tiny_patch16_224", 32, {"img_size": 32, "depth": 2}),
    ("eva02_tiny_patch14_224", 28, {"img_size": 28, "depth": 2}),
]
_SLOW: list[tuple[str, int, dict[str, object]]] = [
    ("eva02_small_patch14_224", 28, {"img_size": 28, "depth": 3}),
    ("resnetv2_50", 64, {}),
    ("regnetx_002", 64, {}),
    ("efficientnet_b0", 64, {}),
    ("mobilenetv3_small_050", 64, {}),
    ("convnext_atto", 64, {}),
    ("convnextv2_atto", 64, {}),
    ("deit_tiny_distilled_patch16_224", 32, {"img_size": 32, "depth": 2}),
    ("beit_base_patch16_224", 32, {"img_size": 32, "depth": 2}),
    ("swin_tiny_patch4_window7_224", 56, {"img_size": 56, "depths": (1, 1, 2, 1)}),
    ("swinv2_tiny_window8_256", 64, {"img_size": 64, "depths": (1, 1, 2, 1)}),
    ("cait_xxs24_224", 32, {"img_size": 32, "depth": 2}),
    ("xcit_nano_12_p16_224", 64, {"img_size": 64, "depth": 2}),
    ("levit_128s", 224, {}),
    ("mobilevit_xxs", 64, {}),
    ("mixer_s32_224", 64, {"img_size": 64}),
    ("resmlp_12_224", 32, {"img_size": 32}),
    ("poolformer_s12", 64, {}),
    ("densenet121", 64, {}),
    ("dla34", 64, {}),
    ("hrnet_w18_small", 64, {}),
    ("inception_v3", 128, {}),
    ("ghostnet_050", 64, {}),
    ("rexnet_100", 64, {}),
    ("repvgg_a0", 64, {}),
    ("dm_nfnet_f0", 64, {}),
    ("coat_tiny", 64, {"img_size": 64}),
    ("crossvit_tiny_240", 240, {}),
    ("pit_ti_224", 64, {"img_size": 64}),
    ("maxvit_pico_rw_256", 64, {"img_size": 64}),
    ("volo_d1_224", 64, {"img_size": 64}),
    ("edgenext_xx_small", 64, {}),
    ("fastvit_t8", 64, {}),
    ("hiera_tiny_224", 64, {"img_size": 64}),
]


def encoder(name: str, options: dict[str, object]) -> nn.Module:
    """A model of timm with no branch that its first weights switch off."""
    model = timm.create_model(name, pretrained=False, **options)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if not bool(parameter.any()):
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
        elif parameter.numel() > 1 and float(parameter.std()) < 1e-3:  # gains, layer scales
            parameter.data = 0.5 + 0.5 * torch.rand(parameter.shape, generator=generator)
    return model.eval()


def assert_like_eager(model: nn.Module, x: Tensor, compiled: nn.Module) -> None:
    """The compiled outputs are eager's, with both measured from double precision."""
    with torch.no_grad():
        in_float = maps_of(model(x))
        in_double = maps_of(copy.deepcopy(model).double()(x.double()))
    ours = maps_of(compiled(x))
    assert [y.shape for y in ours] == [y.shape for y in in_float]
    for a, b, c in zip(ours, in_double, in_float, strict=True):
        scale = float(b.abs().max())
        assert scale > 0
        bound = _OF_TORCH * float((c - b).abs().max()) + _OF_SCALE * scale
        assert float((a - b).abs().max()) <= bound


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        *(pytest.param(*row, id=row[0]) for row in _QUICK),
        *(pytest.param(*row, id=row[0], marks=pytest.mark.slow) for row in _SLOW),
    ],
)
def test_a_model_of_timm_compiles(name: str, size: int, options: dict[str, object]) -> None:
    model = encoder(name, options)
    x = torch.randn(1, 3, size, size)
    compiled = sparse_ovs.compile(model, x)
    assert_like_eager(model, x, compiled)
    assert_like_eager(model, torch.randn(2, 3, size, size), compiled)


def test_clip_s_vision_model_of_transformers_gives_its_own_kind_of_output() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    )
    model = transformers.CLIPVisionModel(config).eval()
    x = torch.randn(2, 3, 32, 32)
    compiled = sparse_ovs.compile(model, x)
    ours, eager = compiled(x), model(x)
    assert type(ours) is type(eager)
    assert list(ours.keys()) == list(eager.keys())
    assert ours.pooler_output.shape == (2, 32)
    assert ours[0] is ours.last_hidden_state
    assert_like_eager(model, x, compiled)
    rows = compiled.plan_for(x).rows()
    assert {row.op for row in rows if row.backend == "torch"} == {"View"}
