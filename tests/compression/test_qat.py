"""compress with quantisation-aware repair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs import quantize
from support.small_encoders import Small


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    made = Small(density=1.0, width=16).eval()
    for conv in (made.conv1, made.conv2, made.conv3, made.down):
        conv.weight.data /= conv.weight[0].numel() ** 0.5
    return made


@pytest.fixture
def images() -> Tensor:
    coarse = torch.randn(20, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse, size=(24, 24), mode="bicubic")


def compress(module: nn.Module, images: Tensor, **options: Any) -> Any:
    given = {"density": 0.2, "precision": "int8", "minutes": 0.05, "lr": 1e-2, "qat": True}
    return sparse_ovs.compress(module, images, baselines=("eager",), **{**given, **options})


def test_repair_learns_with_what_int8_rounds(
    module: nn.Module, images: Tensor, tmp_path: Path
) -> None:
    made = compress(module, images, method="magnitude", folder=tmp_path)
    repaired = made.report.repaired
    assert repaired.steps > 0
    assert repaired.after < repaired.before
    assert made.report.settings["qat"]
    for name, mask in made.masks.items():
        assert not made.module.get_parameter(f"{name}.weight")[~mask].any()
    again = compress(module, images, method="magnitude", folder=tmp_path)
    assert again.quantization.values == made.quantization.values
    for name, scales in made.quantization.weight_scales.items():
        assert torch.equal(again.quantization.weight_scales[name], scales)


def test_weights_have_the_scales_of_what_was_learned(module: nn.Module, images: Tensor) -> None:
    made = compress(module, images)
    fresh = quantize(made.module, [images])
    for name, scales in fresh.weight_scales.items():
        assert torch.equal(made.quantization.weight_scales[name], scales)


@pytest.mark.parametrize("options", [{"minutes": 0.0}, {"precision": "fp32"}])
def test_it_is_refused_without_repair_or_int8(
    module: nn.Module, images: Tensor, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="expected minutes and precision int8 with qat, got"):
        compress(module, images, **options)
