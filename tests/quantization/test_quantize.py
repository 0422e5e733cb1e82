"""Scales from images: ranges, percentiles, files, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import sparse_ovs
from sparse_ovs import quantize
from sparse_ovs.engine.export import export_graph
from sparse_ovs.engine.graph import Quant
from sparse_ovs.formats import FileFormatError
from sparse_ovs.quantization import graphs
from sparse_ovs.quantization.ranges import Range, weight_scales
from support.small_encoders import Small


class Identity(nn.Module):
    """One convolution that gives its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        self.conv.weight.data.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def image(*numbers: float) -> Tensor:
    return torch.tensor(numbers)[None, None, None]


def test_u8_numbers_cover_all_that_was_seen_and_hold_zero_exactly() -> None:
    q = quantize(Identity(), [image(-1.0, 0.5), image(0.0, 4.1)])
    for label in ("input", "conv"):
        quant = q.values[label]
        assert quant.scale == pytest.approx(5.1 / 255)
        assert quant.zero_point == 50
    assert q.provenance["images"] == 2


def test_maps_that_are_never_negative_have_the_zero_point_0() -> None:
    assert quantize(Identity(), [image(1.0, 2.55)]).values["conv"] == Quant(pytest.approx(0.01), 0)


def test_constant_maps_of_zeros_have_a_scale() -> None:
    assert quantize(Identity(), [torch.zeros(1, 1, 2, 2)]).values["conv"] == Quant(1.0, 0)


def test_a_percentile_leaves_out_rare_numbers() -> None:
    many = torch.linspace(0, 1, 100_000)
    seen = Range(99.9)
    seen.show(many)
    seen.show(torch.tensor([50.0]))
    low, high = seen.ends()
    assert low == 0.0
    assert high == pytest.approx(0.999, abs=0.02)
    assert Range(None).ends() == (0.0, 0.0)


def test_bins_grow_with_the_range_and_lose_nothing() -> None:
    seen = Range(99.0)
    for reach in (0.5, 3.0, 40.0, 700.0):
        seen.show(torch.linspace(-reach, reach, 1001))
    assert float(seen._counts.sum()) == 4 * 1001
    low, high = seen.ends()
    # 40 of 4004 numbers are left out at each end: of the widest ones, 1.4 apart.
    assert low == pytest.approx(-644, abs=2)
    assert high == pytest.approx(644, abs=2)


@pytest.mark.parametrize("percentile", [50, 0, 100.5])
def test_percentiles_that_are_none_are_refused(percentile: float) -> None:
    with pytest.raises(ValueError, match="expected a percentile above 50, up to 100"):
        quantize(Identity(), [image(1.0)], percentile=percentile)


def test_each_output_channel_has_a_scale_of_its_own() -> None:
    weight = torch.tensor([[1.27, -0.5], [0.0, 0.0], [-254.0, 3.0]])[:, :, None, None]
    assert weight_scales(weight).tolist() == pytest.approx([0.01, 1.0, 2.0])


def test_batches_come_from_loaders_of_tensors_tuples_and_dicts() -> None:
    x = torch.randn(4, 1, 3, 3)
    expected = quantize(Identity(), [x]).values
    tuples = DataLoader(TensorDataset(x, torch.zeros(4)), batch_size=2)
    for batches in (x, tuples, [{"image": x, "label": 1}], iter([x[:1], x[1:]])):
        assert quantize(Identity(), batches).values == expected


def test_batches_may_have_several_sizes() -> None:
    model = Small().eval()
    q = quantize(model, [torch.randn(1, 3, 32, 32), torch.randn(2, 3, 40, 24)])
    assert q.provenance["images"] == 3
    x = torch.randn(1, 3, 24, 24)
    sparse_ovs.compile(model, x, precision="int8", quantization=q)(x)


def test_one_export_serves_images_of_all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    exported = []

    def export(model: nn.Module, x: Tensor) -> object:
        exported.append(tuple(x.shape))
        return export_graph(model, x)

    monkeypatch.setattr(graphs, "export_graph", export)
    sizes = ((32, 32), (40, 24), (32, 32))
    quantize(Small().eval(), [torch.randn(1, 3, *size) for size in sizes])
    assert exported == [(1, 3, 32, 32)]


def test_layers_seen_at_some_sizes_alone_are_covered() -> None:
    class BySize(nn.Module):
        """Its second layer is reached by large images."""

        def __init__(self) -> None:
            super().__init__()
            self.small, self.large = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.sin(self.small(x))
            return self.large(y) if x.shape[2] > 20 else y

    model = BySize().eval()
    little, much = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 32, 32)
    assert quantize(model, [much, little]).weight_scales.keys() == {"small", "large"}
    unreached = quantize(model, little)
    with pytest.raises(ValueError, match="of this model, got one without large"):
        sparse_ovs.compile(model, much, precision="int8", quantization=unreached)


def test_a_folder_is_prepared_as_the_model_says(tmp_path: Path) -> None:
    numbers = np.arange(3 * 16 * 16, dtype=np.uint8).reshape(16, 16, 3)
    Image.fromarray(numbers).save(tmp_path / "a.png")
    model = Small().eval()
    with pytest.raises(ValueError, match="a model without `preprocess`, got a folder"):
        quantize(model, tmp_path)
    model.preprocess = lambda picture: torch.from_numpy(  # type: ignore[assignment]
        np.asarray(picture, np.float32).transpose(2, 0, 1) / 255
    )
    assert quantize(model, tmp_path).values["input"].scale == pytest.approx(1 / 255)


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one batch of images, got none"):
        quantize(Identity(), [])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_maps_that_are_not_finite_are_refused_by_layer(bad: float) -> None:
    model = Small().eval()
    model.conv2.bias.data[0] = bad
    with pytest.raises(ValueError, match="got NaN or Inf in the maps of conv2"):
        quantize(model, [torch.randn(1, 3, 32, 32)])


def test_what_holds_no_images_is_refused() -> None:
    with pytest.raises(TypeError, match="expected batches of tensors, got str"):
        quantize(Identity(), ["photo.jpg"])
    with pytest.raises(ValueError, match="expected float32 batches"):
        quantize(Identity(), [torch.zeros(1, 1, 2, 2, dtype=torch.float64)])


def test_a_pattern_that_fits_no_layer_is_refused() -> None:
    x = torch.randn(1, 3, 32, 32)
    with pytest.raises(ValueError, match="got 'layer9', which fits none"):
        quantize(Small().eval(), [x], exclude=["layer9"])
    assert quantize(Small().eval(), [x], exclude=["conv*"]).excluded == {"conv1", "conv2", "conv3"}


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    x, path = torch.randn(1, 3, 32, 32), tmp_path / "int8.safetensors"
    q = quantize(Small().eval(), [x], percentile=99.99, exclude=["conv1"])
    q.save(path)
    read = sparse_ovs.load_quantization(path)
    assert (read.values, read.excluded, read.provenance) == (q.values, q.excluded, q.provenance)
    assert read.weight_scales.keys() == q.weight_scales.keys()
    for name, scales in q.weight_scales.items():
        assert torch.equal(read.weight_scales[name], scales)
    assert path.stat().st_size < 10_000


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "masks.safetensors"
    sparse_ovs.formats.write_file(path, {"x": torch.zeros(1)}, {"kind": "masks"})
    with pytest.raises(FileFormatError, match="expected a file of a quantization, got 'masks'"):
        sparse_ovs.load_quantization(path)
    sparse_ovs.formats.write_file(path, {"x": torch.zeros(1)}, {"kind": "quantization"})
    with pytest.raises(FileFormatError, match="expected a whole quantization"):
        sparse_ovs.load_quantization(path)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"values": {"conv": Quant(0.0, 3)}}, "a scale above 0 of conv, got 0.0"),
        ({"values": {"conv": Quant(float("nan"), 3)}}, "a scale above 0 of conv, got nan"),
        ({"weight_scales": {"conv": torch.zeros(1)}}, "scales above 0 of conv's weights"),
    ],
)
def test_scales_of_a_damaged_file_are_refused_by_layer(
    bad: dict[str, dict[str, object]], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "q.safetensors"
    replace(quantize(Identity(), [image(1.0)]), **bad).save(path)
    with pytest.raises(FileFormatError, match=f"got a damaged one: expected {said}"):
        sparse_ovs.load_quantization(path)
