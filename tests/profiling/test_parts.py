"""The parts of a profile: MACs, timing, times by layer, calibration, baselines."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparse_ovs import create_backbone, sparsify
from sparse_ovs.backbones import Backbone
from sparse_ovs.profiling import baselines
from sparse_ovs.profiling.baselines import build_baselines
from sparse_ovs.profiling.layer_times import leaf_modules, stage_of, time_layers
from sparse_ovs.profiling.macs import count_macs, layer_density, weighted_layers
from sparse_ovs.profiling.random_weights import calibrate_random_weights
from sparse_ovs.profiling.timing import Timings, time_interleaved


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def rn50() -> Backbone:
    return create_backbone("RN50")


@pytest.mark.parametrize(("size", "giga"), [(224, 5.37), (640, 43.81)])
def test_rn50_has_the_golden_macs(rn50: Backbone, size: int, giga: float) -> None:
    if size > 224:
        # MACs are proportional to the pixels where the stride divides the size.
        size, giga = 320, giga / 4
    macs = count_macs(rn50, torch.zeros(1, 3, size, size))
    assert len(macs) == 55
    assert sum(m.dense for m in macs.values()) / 1e9 == pytest.approx(giga, abs=0.005)


def test_sparse_macs_are_the_stored_weights_times_the_positions() -> None:
    conv = nn.Conv2d(4, 6, 3, padding=1, stride=2)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 0, :2] = 1
    macs = count_macs(nn.Sequential(conv), torch.zeros(2, 4, 8, 8))["0"]
    assert macs.dense == 2 * 6 * 4 * 9 * 4 * 4
    assert macs.sparse == 2 * 2 * 4 * 4
    assert layer_density(conv) == 2 / (6 * 4 * 9)


def test_attention_counts_its_projections_and_its_products() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.attn(x, x, x)[0]

    macs = count_macs(Model(), torch.zeros(3, 5, 8))
    assert list(macs) == ["attn"]
    products = 2 * 3 * 5 * 5 * 8
    assert macs["attn"].dense == 3 * 5 * 4 * 8 * 8 + products
    assert macs["attn"].sparse == macs["attn"].dense


def test_an_attention_is_one_layer() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    assert list(weighted_layers(layer)) == ["self_attn", "linear1", "linear2"]
    assert "self_attn" in leaf_modules(layer)
    assert "self_attn.out_proj" not in leaf_modules(layer)


def test_a_layer_that_is_called_twice_counts_twice_and_one_that_is_not_is_absent() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(self.used(x))

    macs = count_macs(Model(), torch.zeros(3, 4))
    assert list(macs) == ["used"]
    assert macs["used"].dense == 2 * 3 * 16


@pytest.mark.parametrize(
    ("layer", "stage"),
    [
        ("conv1", "stem"),
        ("layer1.0.conv1", "layer1"),
        ("layer4.2.downsample.0", "layer4"),
        ("stages.2.blocks.1.mlp.fc1", "stages.2"),
        ("transformer.resblocks.3.attn", "transformer.resblocks.3"),
        ("stem.0", "stem"),
    ],
)
def test_the_stage_of_a_layer_is_read_off_its_name(layer: str, stage: str) -> None:
    assert stage_of(layer) == stage


def test_times_by_layer_are_medians_and_the_rest_is_between() -> None:
    clock = Clock()

    class Slow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            clock.now += 0.002
            return x

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = Slow(), Slow()

        def forward(self, x: Tensor) -> Tensor:
            clock.now += 0.001
            return self.b(self.a(self.a(x)))

    model = Model()
    times, total = time_layers(model, torch.zeros(1), rounds=3, clock=clock)
    assert times == pytest.approx({"a": 4.0, "b": 2.0})
    assert total == pytest.approx(7.0)
    assert not model.a._forward_hooks
    assert not model.a._forward_pre_hooks


def test_contestants_take_turns_and_the_first_changes() -> None:
    clock, order = Clock(), []

    def contestant(name: str, seconds: float) -> object:
        def run() -> None:
            order.append(name)
            clock.now += seconds

        return run

    runs = {"a": contestant("a", 0.002), "b": contestant("b", 0.001)}
    timings = time_interleaved(runs, rounds=3, clock=clock)  # type: ignore[arg-type]
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert timings.median("a") == pytest.approx(2.0)
    assert timings.fastest(["a", "b"]) == "b"
    assert timings.ratio("a", "b").median == pytest.approx(2.0)


def test_a_ratio_is_the_median_of_the_rounds_ratios_with_quartiles() -> None:
    timings = Timings({"a": [10.0, 10.0, 30.0, 10.0, 10.0], "b": [5.0, 2.0, 10.0, 10.0, 4.0]})
    ratio = timings.ratio("a", "b")
    assert (ratio.low, ratio.median, ratio.high) == (2.0, 2.5, 3.0)
    assert str(ratio) == "2.50x (2.00 to 3.00)"


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1 round, got 0"):
        time_interleaved({}, rounds=0)


def test_calibration_lets_every_branch_of_a_fresh_encoder_count() -> None:
    backbone = create_backbone("RN50")
    assert not backbone.layer1[0].bn3.weight.any()  # open_clip starts branches at zero
    calibrate_random_weights(backbone, torch.randn(1, 3, 64, 64))
    assert bool((backbone.layer1[0].bn3.weight > 0).all())
    assert not backbone.training
    assert backbone.layer1[0].bn3.momentum == 0.1
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, 64, 64))
    assert all(0.05 < float(m.std()) < 20 for m in maps)


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected baselines of eager, .*, got 'onnx'"):
        build_baselines(nn.Linear(2, 2), torch.zeros(1, 2), ["onnx"])


def test_a_baseline_that_fails_is_told_and_does_not_stop_the_others() -> None:
    class Picky(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.is_contiguous(memory_format=torch.channels_last):
                raise RuntimeError("not this layout\nsecond line")
            return x

    built = build_baselines(Picky(), torch.zeros(1, 3, 4, 4), ["eager", "channels_last"])
    assert list(built.runs) == ["eager"]
    assert built.failures == {"channels_last": "RuntimeError: not this layout"}


@pytest.mark.slow
def test_compiled_baselines_compute_what_eager_computes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    x = torch.randn(1, 3, 16, 16)
    built = build_baselines(model, x)
    assert not built.failures
    expected = built.runs["eager"]()
    for name in ("channels_last", "compiled", "frozen"):
        assert torch.allclose(built.runs[name](), expected, atol=1e-5)  # type: ignore[arg-type]


def test_macs_of_a_swapped_model_are_those_of_its_weights() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1))
    sparsify(model, density=0.25, engine="native")
    macs = count_macs(model.eval(), torch.zeros(1, 4, 6, 6))["0"]
    assert macs.sparse == macs.dense // 4


def test_compiling_says_nothing_of_a_missing_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("torch.utils.cpp_extension")
    heard: list[str] = []
    monkeypatch.setattr(log, "handlers", [_Ear(heard)])
    monkeypatch.setattr(log, "disabled", False)

    def remark(module: str = "") -> None:
        log.warning("No CUDA runtime is found, using CUDA_HOME='%s'", "/cuda")
        log.warning("something else")

    monkeypatch.setattr(baselines, "import_module", remark)
    baselines._inductor_config()
    assert heard == ["something else"]
    remark()  # in others' hands all is as it was
    assert len(heard) == 3
    source = importlib.util.find_spec("torch.utils.cpp_extension")
    assert '"No CUDA runtime is found, ' in Path(str(source and source.origin)).read_text()


class _Ear(logging.Handler):
    def __init__(self, heard: list[str]) -> None:
        super().__init__()
        self.heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())
