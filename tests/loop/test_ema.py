"""The moving average against its formula in fp64."""

import pytest
import torch
from torch import nn

from sparse_ovs.loop import Ema


def test_parameters_follow_the_formula_and_buffers_are_copied() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    ema = Ema(model, 0.9)
    expected = [p.detach().double() for p in model.parameters()]
    for _ in range(5):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        model(torch.randn(4, 3))  # moves the statistics
        ema.update()
        expected = [
            0.9 * e + 0.1 * p.double() for e, p in zip(expected, model.parameters(), strict=True)
        ]
    for ours, oracle in zip(ema.model.parameters(), expected, strict=True):
        torch.testing.assert_close(ours.double(), oracle, rtol=1e-6, atol=1e-6)
    for ours, theirs in zip(ema.model.buffers(), model.buffers(), strict=True):
        assert torch.equal(ours, theirs)
    assert model[1].num_batches_tracked == 5


def test_the_copy_is_in_eval_mode_needs_no_gradient_and_leaves_the_model_as_it_was() -> None:
    model = nn.Linear(3, 2).train()
    ema = Ema(model, 0.5)
    assert not ema.model.training
    assert not any(p.requires_grad for p in ema.model.parameters())
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_the_average_of_zeros_is_zero() -> None:
    model = nn.Linear(3, 2)
    nn.init.zeros_(model.weight)
    ema = Ema(model, 0.999)
    for _ in range(3):
        ema.update()
    assert ema.model.weight.view(torch.int32).eq(0).all()  # +0.0, not -0.0


def test_state_comes_back() -> None:
    first, second = Ema(nn.Linear(3, 2), 0.5), Ema(nn.Linear(3, 2), 0.5)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.model.weight, second.model.weight)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"expected a decay in \[0, 1\), got "):
        Ema(nn.Linear(1, 1), decay)
