"""What each layer's quantisation adds: alone, and in an encoder that is int8 throughout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.quantization import LayerError, layer_errors
from support.small_encoders import Small

LAYERS = ("stem", "conv1", "conv2", "conv3", "down")


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return Small(width=16).eval()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def by_layer(errors: list[LayerError]) -> dict[str, LayerError]:
    return {each.layer: each for each in errors}


def test_the_error_of_the_whole_is_that_of_the_compiled_encoder(
    model: nn.Module, x: Tensor
) -> None:
    q = sparse_ovs.quantize(model, x)
    found = by_layer(layer_errors(model, x, q))
    assert set(found) == set(LAYERS)
    fast = sparse_ovs.compile(model, x, autotune=False, precision="int8", quantization=q)
    with torch.no_grad():
        expected = model(x)
    last = list(found)[-1]  # the residual's sum is a part of it
    for layer, ours, exact in zip(("stem", last), fast(x), expected, strict=True):
        error = float((ours - exact).norm() / exact.norm())
        assert found[layer].whole == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("layer", LAYERS)
def test_alone_a_layer_has_the_error_that_it_has_among_layers_in_fp32(
    model: nn.Module, x: Tensor, layer: str
) -> None:
    others = [name for name in LAYERS if name != layer]
    among = layer_errors(model, x, sparse_ovs.quantize(model, x, exclude=others))
    found = by_layer(layer_errors(model, x, sparse_ovs.quantize(model, x)))
    # Averages of u8 maps have the scale of these, those of fp32 their own.
    assert found[layer].alone == pytest.approx(by_layer(among)[layer].whole, rel=0.05)
    assert 0 < found[layer].alone < 0.05


def test_layers_in_fp32_have_a_reason_and_no_error_of_their_own(
    model: nn.Module, x: Tensor
) -> None:
    q = sparse_ovs.quantize(model, x, exclude=["conv2"])
    kept = by_layer(layer_errors(model, x, q))["conv2"]
    assert kept.reason == "kept in fp32, as asked for"
    assert kept.alone == 0
    assert kept.whole > 0


def test_errors_are_of_all_images_together(model: nn.Module, x: Tensor) -> None:
    q = sparse_ovs.quantize(model, x)
    together = by_layer(layer_errors(model, x, q))
    apart = by_layer(layer_errors(model, [x[:1], x[1:]], q))
    for layer in LAYERS:
        assert apart[layer].alone == pytest.approx(together[layer].alone, rel=1e-4)
        assert apart[layer].whole == pytest.approx(together[layer].whole, rel=1e-4)


def test_maps_that_are_zero_have_no_error() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False)).eval()
    nothing = torch.zeros(1, 1, 4, 4)
    assert layer_errors(model, nothing, sparse_ovs.quantize(model, nothing)) == [
        LayerError("0", 0.0, 0.0)
    ]


def test_parts_that_torch_runs_are_passed_through(x: Tensor) -> None:
    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(torch.sin(self.first(x)))

    model = Between().eval()
    batches = [x, x[:1, :, :20, :24]]  # torch's part is exported for both sizes
    q = sparse_ovs.quantize(model, batches)
    assert [each.layer for each in layer_errors(model, batches, q)] == ["first", "second"]


def test_no_images_are_refused(model: nn.Module, x: Tensor) -> None:
    with pytest.raises(ValueError, match="expected at least one batch of images, got none"):
        layer_errors(model, [], sparse_ovs.quantize(model, x))


def test_a_quantization_of_another_model_is_refused_by_layer(x: Tensor) -> None:
    q = sparse_ovs.quantize(Small(width=8).eval(), x)
    with pytest.raises(ValueError, match="got 8 channels of stem, which has 16"):
        layer_errors(Small(width=16).eval(), x, q)
