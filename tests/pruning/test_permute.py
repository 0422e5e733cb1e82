"""Channel orders for blocks, against the masks that are made after them."""

from __future__ import annotations

import copy

import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import Tensor, nn

from sparse_ovs.patterns import make_global_masks, make_mask
from sparse_ovs.pruning.permute import permute_for_blocks


def _network(width: int = 16) -> nn.Module:
    """A small CLIP ResNet trunk with weights of one size in all layers."""
    model = ModifiedResNet((2, 1, 1, 1), output_dim=32, heads=4, image_size=64, width=width)
    with torch.no_grad():
        for name in _layers(model):
            model.get_submodule(name).weight.normal_()
    return model.eval()


def _layers(model: nn.Module) -> list[str]:
    return [n for n, m in model.named_modules() if "layer" in n and isinstance(m, nn.Conv2d)]


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: model.get_submodule(name).weight.detach() for name in _layers(model)}


def _kept(model: nn.Module, masks: dict[str, Tensor]) -> float:
    return sum(float(w.abs().double()[masks[n]].sum()) for n, w in _weights(model).items())


def _plant(model: nn.Module, rows: int) -> None:
    """Gives the rows of all movable layers shuffled partners that live on the same columns."""
    generator = torch.Generator().manual_seed(4)
    for name, weight in _weights(model).items():
        if name.endswith(("conv1", "conv2")):
            out, columns = weight.shape[0], weight[0].numel()
            alive = torch.rand(out // rows, columns, generator=generator) < 0.1
            alive = alive.repeat_interleave(rows, 0)[torch.randperm(out, generator=generator)]
            size = 1 + torch.rand(out, columns, generator=generator)
            weight.copy_((alive * size).view_as(weight))
        else:
            weight.mul_(1e-3)  # no rival of theirs


@pytest.mark.parametrize("pattern", ["block4x1", "block2x1", "block8x1"])
@pytest.mark.parametrize("density", [0.1, 0.5])
def test_the_report_is_what_global_masks_keep(pattern: str, density: float) -> None:
    model = _network()
    before = _kept(model, make_global_masks(_weights(model), pattern, density))
    report = permute_for_blocks(model, pattern, density, layers=_layers(model))
    after = _kept(model, make_global_masks(_weights(model), pattern, density))
    assert report.kept_before == pytest.approx(before, rel=1e-6)
    assert report.kept_after == pytest.approx(after, rel=1e-6)
    assert report.total == pytest.approx(
        sum(float(w.abs().sum()) for w in _weights(model).values())
    )
    assert after > before


def test_the_report_is_what_masks_by_layer_keep() -> None:
    model = _network()
    densities = {name: 0.1 + 0.01 * i for i, name in enumerate(_layers(model))}

    def kept() -> float:
        weights = _weights(model)
        return _kept(model, {n: make_mask(w, "block4x1", densities[n]) for n, w in weights.items()})

    before = kept()
    report = permute_for_blocks(model, "block4x1", densities)
    assert report.kept_before == pytest.approx(before, rel=1e-6)
    assert report.kept_after == pytest.approx(kept(), rel=1e-6)
    assert report.kept_after > before


@pytest.mark.parametrize(
    ("effort", "share"), [({}, 0.999), ({"max_sweeps": 1, "max_rounds": 1}, 0.97)]
)
def test_planted_partners_are_found_and_their_magnitude_is_kept(effort: dict, share: float) -> None:
    model = _network()
    _plant(model, 4)
    planted = [w for n, w in _weights(model).items() if n.endswith(("conv1", "conv2"))]
    live = sum(float(w.double().sum()) for w in planted)
    density = sum(int((w != 0).sum()) for w in planted) / sum(
        w.numel() for w in _weights(model).values()
    )
    report = permute_for_blocks(model, density=density, layers=_layers(model), **effort)
    assert report.kept_before < 0.9 * live
    assert report.kept_after > share * live


def test_the_permuted_network_computes_the_same_maps() -> None:
    model = _network().double()
    twin = copy.deepcopy(model)
    report = permute_for_blocks(twin, layers=_layers(twin))
    assert report.orders
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected, found = model.stem(x), twin.stem(x)
        for name in ("layer1", "layer2", "layer3", "layer4"):
            expected, found = getattr(model, name)(expected), getattr(twin, name)(found)
            scale = float(expected.abs().max())
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * scale)


def test_orders_tell_where_the_channels_went() -> None:
    model = _network()
    before = {name: weight.clone() for name, weight in _weights(model).items()}
    report = permute_for_blocks(model, layers=_layers(model))
    order = report.orders["layer1.0.conv1"]
    assert torch.equal(model.layer1[0].conv1.weight, before["layer1.0.conv1"][order])


def test_the_same_weights_give_the_same_orders() -> None:
    model = _network()
    reports = [permute_for_blocks(copy.deepcopy(model), layers=_layers(model)) for _ in range(2)]
    assert reports[0].orders.keys() == reports[1].orders.keys()
    for name, order in reports[0].orders.items():
        assert torch.equal(order, reports[1].orders[name])


def test_a_second_search_never_keeps_less() -> None:
    model = _network()
    first = permute_for_blocks(model, layers=_layers(model))
    second = permute_for_blocks(model, layers=_layers(model))
    assert second.kept_before == pytest.approx(first.kept_after, rel=1e-9)
    assert second.kept_after >= second.kept_before


def test_where_nothing_is_to_be_gained_nothing_moves() -> None:
    model = _network()
    before = copy.deepcopy(model.state_dict())
    report = permute_for_blocks(model, density=1.0, layers=_layers(model))
    assert report.orders == {}
    assert report.kept_after == report.kept_before == pytest.approx(report.total)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_progress_names_every_layer() -> None:
    model = _network()
    seen: list[tuple[str, int, int]] = []
    permute_for_blocks(
        model, layers=_layers(model), max_sweeps=2, progress=lambda *step: seen.append(step)
    )
    movable = [n for n in _layers(model) if n.endswith(("conv1", "conv2"))]
    assert [name for name, _, _ in seen[: len(movable)]] == movable
    assert [done for _, done, _ in seen] == list(range(1, len(seen) + 1))
    assert {total for _, _, total in seen} == {2 * len(movable)}


def test_only_layers_that_are_pruned_move() -> None:
    report = permute_for_blocks(_network(), layers=["layer1.0.conv1", "layer1.0.conv3"])
    assert set(report.orders) == {"layer1.0.conv1"}


@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "channel", "block4x4"])
def test_patterns_without_blocks_of_one_column_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected a pattern blockRx1"):
        permute_for_blocks(_network(), pattern, layers=["layer1.0.conv1"])


def test_models_and_densities_that_do_not_fit_are_refused() -> None:
    model = _network()
    with pytest.raises(ValueError, match="expected the names of the layers"):
        permute_for_blocks(model)
    with pytest.raises(ValueError, match="expected a model with bottlenecks"):
        permute_for_blocks(model, layers=["layer1.0.conv3"])
    with pytest.raises(ValueError, match="0 < density <= 1"):
        permute_for_blocks(model, density=0.0, layers=_layers(model))
    with pytest.raises(ValueError, match="expected densities of the layers"):
        permute_for_blocks(model, density={"layer1.0.conv1": 0.1}, layers=_layers(model))
