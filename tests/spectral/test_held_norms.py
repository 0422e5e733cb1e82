"""A frozen BatchNorm: which one it is, and that nothing wakes it."""

import copy
import pickle

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from sparse_ovs.nn import sparsify
from sparse_ovs.spectral import freeze
from support.small_freezing import (
    OF_LAYERS,
    OF_NORM,
    OPTIMIZERS,
    moved,
    small_model,
    state_of,
    steps,
)
from support.small_trunks import convs, small_trunk


def test_norms_are_left_to_learn_unless_asked_for() -> None:
    model = small_model()
    assert freeze(model, ["0"]).norms == ()
    optimizer = OPTIMIZERS["AdamW"](model.parameters())
    before = state_of(model)
    steps(model, optimizer, 1)
    assert moved(model, before) >= OF_NORM


@pytest.mark.parametrize("sparse", [False, True])
def test_a_frozen_norm_keeps_its_parameters_and_statistics_through_train(sparse: bool) -> None:
    model = small_model(sparse)
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    steps(model, optimizer, 2)
    freezing = freeze(model, ["0", "6"], norms=True)
    assert freezing.layers == ("0", "6")
    assert freezing.norms == ("1",)
    before = state_of(model)
    for step in range(3):
        model.eval()
        model.train()
        steps(model, optimizer, 1, step)
    assert not moved(model, before) & (OF_LAYERS | OF_NORM)
    assert not model[1].training
    assert model[3].training


def test_a_frozen_norm_normalises_by_its_statistics_in_training() -> None:
    model = small_model()
    steps(model, OPTIMIZERS["SGD"](model.parameters()), 1)
    freeze(model, ["0"], norms=True)
    model.train()
    x = torch.randn(2, 8, 5, 5)
    norm = model[1]
    expected = nn.functional.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias
    )
    assert torch.equal(norm(x), expected)


def test_the_norm_that_a_sparse_convolution_has_folded_is_frozen() -> None:
    model = small_model().eval()
    sparsify(model, "unstructured", 0.5, engine="native", fold_bn="eval")
    freeze(model, ["0"], norms=True)
    model.train()
    before = state_of(model)
    steps(model, OPTIMIZERS["SGD"](model.parameters()), 2)
    assert not moved(model, before) & OF_NORM
    x = torch.randn(2, 3, 6, 6)
    conv, norm = model[0], model[1]
    expected = norm(nn.functional.conv2d(x, conv.weight, conv.bias))
    model.eval()
    with torch.no_grad():  # the fold is in force again
        torch.testing.assert_close(model[1](model[0](x)), expected)


class _ConvAndNorm(nn.Conv2d):
    """Detectron2's: the convolution holds its norm."""

    def __init__(self) -> None:
        super().__init__(3, 8, 3)
        self.norm = nn.SyncBatchNorm(8)


@pytest.mark.parametrize(
    ("model", "conv", "norm"),
    [
        (small_trunk(), "layer1.0.downsample.0", "layer1.0.downsample.1"),
        (small_trunk(), "layer2.1.conv3", "layer2.1.bn3"),
        (small_trunk(), "conv2", "bn2"),
        (nn.ModuleDict({"conv": nn.Conv2d(3, 8, 3), "bn": BatchNormAct2d(8)}), "conv", "bn"),
        (nn.ModuleDict({"one": _ConvAndNorm()}), "one", "one.norm"),
    ],
)
def test_the_norm_of_a_convolution_is_found_where_frameworks_have_it(
    model: nn.Module, conv: str, norm: str
) -> None:
    assert freeze(model, [conv], norms=True).norms == (norm,)
    assert not model.train().get_submodule(norm).training


def test_a_norm_of_something_else_is_not_frozen() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 1),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 4, 1),
    )
    assert freeze(model, ["0", "3", "5"], norms=True).norms == ()


def test_a_thawed_norm_is_in_the_mode_that_the_model_was_put_in() -> None:
    model = small_model().train()
    freezing = freeze(model, ["0"], norms=True)
    model.eval()
    freezing.thaw()
    assert not model[1].training


def test_a_copy_of_a_frozen_model_is_frozen_and_does_not_share_its_norms() -> None:
    model = small_model()
    freezing = freeze(model, ["0"], norms=True)
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    freezing.thaw()
    for twin in twins:
        assert not twin.train()[1].training
        assert isinstance(twin[1], nn.BatchNorm2d)
        assert not twin[0].weight.requires_grad
    assert model.train()[1].training


def test_every_convolution_of_a_trunk_has_its_norm() -> None:
    trunk = small_trunk()
    freezing = freeze(trunk, convs(trunk), norms=True)
    assert len(freezing.norms) == len(freezing.layers)
    assert not any(p.requires_grad for p in trunk.parameters())
