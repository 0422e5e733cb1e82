"""compress from end to end, on encoders of a few layers: budgets, files, refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs.compression import Compressed, CompressionSettings
from sparse_ovs.compression.layers import find_layers
from sparse_ovs.compression.one_layer import loss_by_density
from sparse_ovs.engine.export import trace
from sparse_ovs.pruning.criteria import budget_masks, density_of, magnitude_masks
from sparse_ovs.pruning.masks import load as load_masks
from support.small_classifier import norm_factor
from support.small_encoders import Small

LAYERS = ("stem", "conv1", "conv2", "down", "head")


def compress(module: nn.Module, images: Tensor, **options: object) -> Compressed:
    options.setdefault("baselines", ("eager",))
    return sparse_ovs.compress(module, images, **options)  # type: ignore[arg-type]


def kept(made: Compressed) -> int:
    return sum(int(mask.sum()) for mask in made.masks.values())


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: module.get_parameter(f"{name}.weight").detach() for name in LAYERS}


def error(made: Compressed, module: nn.Module, images: Tensor) -> float:
    with torch.no_grad():
        exact = module(images)
        return float((made.module(images) - exact).norm() / exact.norm())


def test_magnitude_has_the_masks_of_global_magnitude_and_the_weights_under_them(
    module: nn.Module, images: Tensor
) -> None:
    made = compress(module, images, density=0.4, method="magnitude")
    weights = weights_of(module)
    expected = magnitude_masks(weights, "unstructured", 0.4)
    for name, weight in weights.items():
        assert torch.equal(made.masks[name], expected[name])
        assert torch.equal(weights_of(made.module)[name], weight * expected[name])


def test_magnitude_for_macs_has_the_masks_of_pruning_for_macs(
    module: nn.Module, images: Tensor
) -> None:
    made = compress(module, images, budget_macs=0.4, method="magnitude")
    weights = weights_of(module)
    uses = {"stem": 144, "conv1": 144, "conv2": 36, "down": 36, "head": 1}
    budget = 0.4 * sum(uses[name] * weight.numel() for name, weight in weights.items())
    expected = budget_masks(weights, "unstructured", uses, budget, power=0.5)
    differ = sum(int((made.masks[name] != expected[name]).sum()) for name in weights)
    assert differ <= 3  # the last few that the budget pays for
    assert made.report.macs_share == pytest.approx(0.4, abs=0.002)


@pytest.mark.parametrize("allocation", ["loss", "global", "uniform"])
@pytest.mark.parametrize("budget", [{"density": 0.3}, {"budget_macs": 0.3}])
def test_budgets_are_used_up_and_not_exceeded(
    module: nn.Module, images: Tensor, budget: dict[str, float], allocation: str
) -> None:
    report = compress(module, images, allocation=allocation, **budget).report
    used = report.density if "density" in budget else report.macs_share
    assert 0.29 < used <= 0.3 + 1e-9


@pytest.mark.parametrize(
    ("how", "allocation"),
    [
        ({"density": 0.5}, "global"),
        ({"budget_macs": 0.5, "method": "magnitude"}, "global"),
        ({"target_speedup": 2.0}, "loss"),
        ({"target_speedup": 2.0, "method": "magnitude"}, "global"),
        ({"budget_macs": 0.8, "pattern": "2:4"}, "loss"),
    ],
)
def test_the_allocation_that_is_taken_by_default(how: dict[str, Any], allocation: str) -> None:
    assert CompressionSettings(**how).chosen_allocation == allocation


def test_losses_are_those_of_other_images_than_weights_are_fitted_to() -> None:
    # The even images light up the first channels, the odd ones the last: for those that weights
    # are fitted to, the others' channels are worth nothing.
    torch.manual_seed(0)
    module, x = nn.Sequential(nn.Conv2d(8, 4, 1, bias=False)), torch.rand(12, 8, 6, 6)
    nn.init.constant_(module[0].weight, 0.5)
    (layer,) = find_layers(module, trace(module, x[:1]), x[:1])
    x[0::2, 4:] = 0
    x[1::2, :4] = 0
    settings = CompressionSettings(density=0.5)
    for batches in (x.split(1), x.split(3), [x]):
        (loss,) = loss_by_density(layer, [(b, b) for b in batches], [0.5], settings)
        assert loss > 0.9


def test_second_order_errs_less_than_magnitude(module: nn.Module, images: Tensor) -> None:
    ours = compress(module, images, density=0.3)
    control = compress(module, images, density=0.3, method="magnitude")
    assert error(ours, module, images) < 0.5 * error(control, module, images)
    assert ours.report.quality.maps[-1] > control.report.quality.maps[-1]


def test_blocks_of_four_rows_share_their_columns(module: nn.Module, images: Tensor) -> None:
    made = compress(module, images, density=0.4, pattern="block4x1")
    mask = made.masks["conv2"].movedim(1, -1).reshape(8, 4, -1)
    assert torch.equal(mask.any(1), mask.all(1))
    assert kept(made) / sum(m.numel() for m in made.masks.values()) == pytest.approx(0.4, abs=0.01)


def test_two_of_four_prunes_the_layers_that_lose_least(module: nn.Module, images: Tensor) -> None:
    made = compress(module, images, density=0.7, pattern="2:4")
    densities = {name: float(mask.double().mean()) for name, mask in made.masks.items()}
    pruned = {name for name, density in densities.items() if density < 1}
    assert 0 < len(pruned) < len(LAYERS)
    assert all(densities[name] == pytest.approx(0.5, abs=0.02) for name in pruned)  # stem: 27
    assert made.report.density <= 0.7


def test_a_budget_below_two_of_four_is_refused(module: nn.Module, images: Tensor) -> None:
    with pytest.raises(
        ValueError, match=r"expected a density of at least 0.5\d* for pattern '2:4'"
    ):
        compress(module, images, density=0.3, pattern="2:4")


def test_excluded_layers_stay_as_they_are(module: nn.Module, images: Tensor) -> None:
    made = compress(module, images, density=0.3, exclude=["stem", "conv*"])
    assert set(made.masks) == {"down", "head"}
    assert torch.equal(made.module.stem.weight, module.stem.weight)  # type: ignore[arg-type]


def test_the_module_is_not_changed(module: nn.Module, images: Tensor) -> None:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    compress(module, images, density=0.3)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_speed_up_is_measured_and_near_what_is_asked_for(
    module: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With clocks that count MACs: real ones of so small an encoder tell nothing."""
    from sparse_ovs.compression import timing
    from sparse_ovs.compression.costs import Costs
    from sparse_ovs.profiling.timing import Ratio

    def seconds(masks: dict[str, float]) -> float:
        macs = {"stem": 432, "conv1": 256, "conv2": 4608, "down": 512, "head": 320}
        return 500.0 + sum(macs[name] * density**0.8 for name, density in masks.items())

    dense = 2 * seconds(dict.fromkeys(LAYERS, 1.0))

    def layer_costs(watch: timing.Stopwatch) -> Costs:
        line = [(0.0, 0.0), (1.0, 1000.0)]  # far from the truth
        return Costs("seconds", dict.fromkeys(LAYERS, line), 100.0)

    def speed(watch: timing.Stopwatch, module: nn.Module, *_: object) -> timing.Speed:
        found = {n: float((w != 0).double().mean()) for n, w in weights_of(module).items()}
        ratio = dense / seconds(found)
        return timing.Speed(1.0, ratio, "eager", Ratio(ratio, ratio, ratio), {})

    monkeypatch.setattr(timing.Stopwatch, "layer_costs", layer_costs)
    monkeypatch.setattr(timing.Stopwatch, "dense_seconds", lambda watch: dense)
    monkeypatch.setattr(timing.Stopwatch, "likely_speedup", lambda w, d: dense / seconds(d))
    monkeypatch.setattr(timing.Stopwatch, "speed", speed)
    report = compress(module, images, target_speedup=4, peers=()).report
    assert report.speed is not None
    assert report.speed.speedup.median == pytest.approx(4, rel=0.05)
    with pytest.raises(ValueError, match="expected a speed-up that pruning reaches, up to 18"):
        compress(module, images, target_speedup=100, peers=())


def test_int8_computes_with_the_weights_of_the_module(module: nn.Module, images: Tensor) -> None:
    made = compress(module, images, density=0.5, precision="int8")
    assert made.quantization is not None
    fast = sparse_ovs.compile(
        made.module, images, precision="int8", quantization=made.quantization, autotune=False
    )
    for name in LAYERS[:-1]:  # the label of the last is that of its map
        scales = made.quantization.weight_scales[name]
        weight = weights_of(made.module)[name].flatten(1)
        if name == "stem":  # BatchNorm is folded into it
            weight = weight * norm_factor(module)[:, None]
        steps = weight / scales[:, None]
        assert float((steps - steps.round()).abs().max()) < 1e-3
        assert float(steps.abs().max()) < 127.5
    with torch.no_grad():
        exact = made.module(images)
    assert float((fast(images) - exact).norm() / exact.norm()) < 0.05


def test_files_come_back_by_the_functions_that_read_them(images: Tensor, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Small(density=1.0).eval()
    made = compress(module, images, density=0.4, precision="int8")
    written = made.save(tmp_path / "new" / "folder")
    assert {path.name for path in written} == {
        "masks.safetensors",
        "weights.safetensors",
        "quantization.safetensors",
        "report.json",
        "report.html",
        "encoder.plan",
    }
    folder = written[0].parent
    masks = load_masks(folder / "masks.safetensors")
    assert masks.density == pytest.approx(made.report.density)
    assert all(torch.equal(masks.masks[name], mask) for name, mask in made.masks.items())
    again = sparse_ovs.load(folder / "weights.safetensors", Small(density=1.0)).eval()
    for ours, theirs in zip(again(images), made.module(images), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)  # of numbers up to 24
    q = sparse_ovs.load_quantization(folder / "quantization.safetensors")
    x = images[:1]
    ours = sparse_ovs.compile(made.module, x, precision="int8", quantization=q)
    plan = sparse_ovs.load_plan(folder / "encoder.plan")
    assert all(torch.equal(a, b) for a, b in zip(plan(x), ours(x), strict=True))
    report = json.loads((folder / "report.json").read_text())
    assert [layer["name"] for layer in report["layers"]] == list(made.masks)
    assert report["peak_bytes"] > 0
    assert "conv2" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_a_module_of_one_input_size_is_compressed_too(images: Tensor) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 22 * 22, 10),
    )
    report = compress(module.eval(), images, density=0.3).report
    assert report.density == pytest.approx(0.3, abs=0.001)
    assert report.quality.classes in (0.0, 1.0)


def test_repair_lowers_the_loss_of_images_that_it_does_not_learn_from(
    module: nn.Module, images: Tensor, tmp_path: Path
) -> None:
    options = {"density": 0.2, "method": "magnitude", "folder": tmp_path, "lr": 1e-2}
    made = compress(module, images, minutes=0.1, **options)
    repaired = made.report.repaired
    assert repaired is not None
    assert repaired.steps > 0
    assert repaired.after < repaired.before
    for name, mask in made.masks.items():
        assert not bool(weights_of(made.module)[name][~mask].any())
    ours, theirs = (each.get_buffer("norm.running_mean") for each in (made.module, module))
    assert torch.equal(ours, theirs)
    again = compress(module, images, minutes=0.1, **options)
    assert torch.equal(weights_of(again.module)["conv2"], weights_of(made.module)["conv2"])


def test_int8_after_repair_is_rounded_under_the_same_masks(
    module: nn.Module, images: Tensor
) -> None:
    made = compress(module, images, density=0.4, minutes=0.01, precision="int8")
    assert density_of(made.masks) == pytest.approx(0.4, abs=0.01)
    for name, mask in made.masks.items():
        assert not bool(weights_of(made.module)[name][~mask].any())
    assert made.report.quality.maps[-1] > 0.9


def test_an_encoder_with_steps_in_torch_has_no_plan_file_and_says_so(
    images: Tensor, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softplus(), nn.Conv2d(8, 8, 3)).eval()
    made = compress(module, images, density=0.5)
    assert "encoder.plan" not in {path.name for path in made.save(tmp_path)}
    assert "no plan file" in json.loads((tmp_path / "report.json").read_text())["notes"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected one of density, budget_macs, target_speedup, got none of them"),
        ({"density": 0.5, "target_speedup": 2}, "got density and target_speedup"),
        ({"density": 0.0}, "expected a density with 0 < density <= 1, got 0.0"),
        ({"budget_macs": 1.5}, "expected a share of MACs with 0 < share <= 1, got 1.5"),
        ({"target_speedup": 0}, "expected a speed-up above 0, got 0"),
        ({"density": 0.5, "precision": "bf16"}, "expected precision of fp32, int8, got 'bf16'"),
        ({"density": 0.5, "method": "random"}, "expected method of obs, magnitude, got 'random'"),
        ({"density": 0.5, "allocation": "best"}, "expected allocation of loss, global, uniform"),
        ({"density": 0.5, "pattern": "channel"}, "with method 'obs', got 'channel'"),
        ({"density": 0.5, "pattern": "2:4", "allocation": "uniform"}, "expected allocation 'loss'"),
        ({"density": 0.5, "exclude": ["layer9"]}, "'layer9', which fits none"),
        ({"density": 0.5, "exclude": ["*"]}, "expected a module with layers to compress, got none"),
        ({"density": 0.001, "allocation": "loss"}, "expected a density of at least 0.015"),
        ({"density": 0.5, "minutes": -1}, "expected minutes of at least 0, got -1"),
        ({"density": 0.5, "threads": 0}, "expected a thread count of at least 1, got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(
    module: nn.Module, images: Tensor, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        compress(module, images, **options)
