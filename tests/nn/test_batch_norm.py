"""NativeBatchNorm2d: what nn.BatchNorm2d does, step for step."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sparse_ovs import densify, sparsify
from sparse_ovs.nn.batch_norm import NativeBatchNorm2d
from sparse_ovs.spectral import held_norms


def pair(momentum: float | None = 0.1) -> tuple[nn.BatchNorm2d, NativeBatchNorm2d]:
    norm = nn.BatchNorm2d(6, momentum=momentum)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, NativeBatchNorm2d.from_torch(copy.deepcopy(norm))


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_steps_of_training_leave_the_state_that_torch_s_leaves(
    momentum: float | None, layout: torch.memory_format
) -> None:
    norm, ours = pair(momentum)
    for _ in range(3):
        x = (2 + 3 * torch.randn(4, 6, 5, 7)).contiguous(memory_format=layout)
        assert torch.allclose(ours(x), norm(x), atol=1e-5)
    for name, value in norm.state_dict().items():
        assert torch.allclose(ours.state_dict()[name], value, atol=1e-5), name
    norm.eval(), ours.eval()
    assert torch.allclose(ours(x), norm(x), atol=1e-5)


def test_training_on_contiguous_maps_runs_native(monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours = pair()

    def refuse(*args: object, **more: object) -> None:
        raise AssertionError("expected the native path")

    monkeypatch.setattr(nn.functional, "batch_norm", refuse)
    ours(torch.randn(4, 6, 5, 7))
    with pytest.raises(AssertionError):
        ours.eval()(torch.randn(4, 6, 5, 7))


def test_a_single_value_a_channel_is_refused_as_by_torch() -> None:
    _, ours = pair()
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        ours(torch.randn(1, 6, 1, 1))


def test_sparsify_swaps_norms_and_densify_takes_them_out() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    sparsify(model, density=1.0, fold_bn="eval", engine="native")
    assert type(model[1]) is NativeBatchNorm2d
    assert model.state_dict().keys() == state.keys()
    x = torch.randn(2, 3, 8, 8)
    model.eval()
    folded = model(x)
    densify(model)
    assert type(model[1]) is nn.BatchNorm2d
    assert torch.allclose(model(x), folded, atol=1e-5)


def test_a_held_norm_stays_with_its_running_statistics() -> None:
    _, ours = pair()
    held_norms.hold(ours)
    ours.train()
    before = ours.running_mean.clone()
    ours(torch.randn(4, 6, 5, 7))
    assert torch.equal(ours.running_mean, before)
