"""BatchNorm's statistics over batches, against sums in fp64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sparse_ovs.pruning.recalibrate import recalibrate_batch_norm


class _Net(nn.Module):
    """Two BatchNorms, the second of which sees what the first has normalised by its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.dropout = nn.Dropout(0.5)
        self.conv = nn.Conv2d(3, 4, 1)
        self.last = nn.BatchNorm2d(4, momentum=0.3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.conv(self.dropout(self.norm(x))))


def _batches(count: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [2 + 3 * torch.randn(4, 3, 5, 5, generator=generator) for _ in range(count)]


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance by channel, fp64."""
    rows = x.double().movedim(1, 0).flatten(1)
    mean = rows.sum(1) / rows.shape[1]
    return mean, (rows - mean[:, None]).square().sum(1) / (rows.shape[1] - 1)


def test_statistics_are_the_plain_average_over_the_batches() -> None:
    net = _Net().eval()
    net.norm.running_mean.fill_(7.0)  # what was there leaves no trace
    batches = _batches()
    assert recalibrate_batch_norm(net, batches) == 12
    means, variances, last = [], [], []
    for x in batches:
        mean, variance = _statistics(x)
        means.append(mean)
        variances.append(variance)
        biased = variance * 99 / 100
        normalised = (x - mean[:, None, None]) / (biased + net.norm.eps).sqrt()[:, None, None]
        last.append(_statistics(net.conv(normalised.float()))[0])
    for found, parts in (
        (net.norm.running_mean, means),
        (net.norm.running_var, variances),
        (net.last.running_mean, last),
    ):
        expected = torch.stack(parts).mean(0).float()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_weights_modes_momenta_and_gradients_stay() -> None:
    net = _Net().train()
    net.dropout.eval()
    net(_batches()[0]).sum().backward()
    before = copy.deepcopy(net)
    gradients = {name: p.grad.clone() for name, p in net.named_parameters()}
    recalibrate_batch_norm(net, _batches())
    for (name, p), old in zip(net.named_parameters(), before.parameters(), strict=True):
        assert torch.equal(p, old)
        assert torch.equal(p.grad, gradients[name])
    assert [m.training for m in net.modules()] == [m.training for m in before.modules()]
    assert net.norm.momentum == 0.1
    assert net.last.momentum == 0.3


def test_the_same_batches_give_the_same_bits_whatever_the_mode() -> None:
    one, other = _Net().eval(), _Net().train()
    other.load_state_dict(one.state_dict())
    recalibrate_batch_norm(one, _batches())
    torch.rand(5)  # dropout would draw from here
    recalibrate_batch_norm(other, _batches())
    recalibrate_batch_norm(other, _batches())
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_a_generator_of_batches_will_do() -> None:
    net, other = _Net(), _Net()
    other.load_state_dict(net.state_dict())
    recalibrate_batch_norm(net, iter(_batches()))
    recalibrate_batch_norm(other, _batches())
    assert torch.equal(net.last.running_var, other.last.running_var)


@pytest.mark.parametrize(
    "model", [nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)]
)
def test_models_without_statistics_are_refused(model: nn.Module) -> None:
    with pytest.raises(ValueError, match="expected a model with BatchNorm layers"):
        recalibrate_batch_norm(model, _batches())


def test_without_images_the_old_statistics_stay() -> None:
    net = _Net()
    net(_batches()[0])
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match="expected at least one batch of images"):
        recalibrate_batch_norm(net, [])
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


def test_a_failure_half_way_leaves_the_old_statistics_and_modes() -> None:
    net = _Net().eval()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(RuntimeError):
        recalibrate_batch_norm(net, [*_batches(), torch.randn(4, 5, 5, 5)])
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert net.norm.momentum == 0.1
    assert not any(module.training for module in net.modules())
