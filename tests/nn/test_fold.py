"""Folding BatchNorm and ReLU into the convolution before them, in eval mode only."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet
from timm.layers import ConvNormAct
from torch import Tensor, nn

from sparse_ovs import densify, sparsify
from sparse_ovs.nn.pool import NativeAvgPool2x2
from support.oracles import assert_as_exact_as_torch


def _seen_norms(model: nn.Module) -> nn.Module:
    """As after training: every BatchNorm does something, every branch counts."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


def _resnet() -> nn.Module:
    return _seen_norms(ModifiedResNet((1, 2, 1, 1), 32, 4, 64, width=8))


MODELS = {
    "open_clip": (_resnet, (2, 3, 64, 64)),
    "sequential": (
        lambda: _seen_norms(
            nn.Sequential(nn.Conv2d(4, 8, 3, bias=True), nn.BatchNorm2d(8), nn.ReLU())
        ),
        (2, 4, 9, 9),
    ),
    "timm": (
        lambda: _seen_norms(nn.Sequential(ConvNormAct(4, 8, 3), ConvNormAct(8, 8, 1))),
        (2, 4, 9, 9),
    ),
}


def _run(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def _check(model: nn.Module, x: Tensor) -> None:
    dense = densify(copy.deepcopy(model)).eval()
    fp32 = _run(dense, x)
    assert_as_exact_as_torch(_run(model, x), _run(dense.double(), x.double()), fp32)


@pytest.mark.parametrize("engine", ["native", "dense"])
@pytest.mark.parametrize("name", MODELS)
def test_a_folded_model_computes_what_the_unfolded_dense_model_computes(
    name: str, engine: str
) -> None:
    make, shape = MODELS[name]
    model = make()
    sparsify(model, density=0.4, fold_bn="eval", engine=engine)
    assert any(isinstance(m, nn.Identity) for m in model.modules())
    _check(model, torch.randn(shape))


def test_identities_stand_where_norms_and_activations_stood_in_eval_mode_only() -> None:
    model = _resnet()
    sparsify(model, density=0.4, fold_bn=True, engine="native")
    block = model.layer1[0]
    assert isinstance(block.bn1, nn.Identity)
    assert isinstance(block.act1, nn.Identity)
    assert isinstance(block.bn3, nn.Identity)
    assert isinstance(block.act3, nn.ReLU)  # it follows the addition
    assert isinstance(
        block.downsample[2] if len(block.downsample) > 2 else block.downsample[-1], nn.Identity
    )
    model.train()
    assert isinstance(block.bn1, nn.BatchNorm2d)
    assert block.bn1.training
    assert type(block.act1) is nn.ReLU
    model.eval()
    assert isinstance(block.bn1, nn.Identity)


def test_the_last_activation_of_the_stem_is_folded_and_pools_run_native() -> None:
    model = _resnet()
    sparsify(model, density=0.4, fold_bn=True, engine="native")
    assert isinstance(model.act3, nn.Identity)
    assert isinstance(model.avgpool, NativeAvgPool2x2)
    densify(model)
    assert type(model.act3) is nn.ReLU
    assert type(model.avgpool) is nn.AvgPool2d


def test_convolutions_that_nothing_prunes_are_folded_too() -> None:
    model = _resnet()
    report = sparsify(model, density={"layer1.0.conv1": 0.5}, fold_bn=True, engine="native")
    assert report["layer2.0.conv2"].backend == "native"
    assert report["layer2.0.conv2"].density == 1.0
    assert report["layer2.0.conv2"].bytes_sparse == report["layer2.0.conv2"].bytes_dense
    assert isinstance(model.layer2[0].bn2, nn.Identity)
    _check(model, torch.randn(2, 3, 64, 64))


def test_training_after_a_fold_updates_the_norm_and_eval_takes_it_up() -> None:
    model = _resnet()
    sparsify(model, density=0.4, fold_bn=True, engine="native")
    x = torch.randn(2, 3, 64, 64)
    before = _run(model, x)
    model.train()
    with torch.no_grad():
        model(x)
    model.eval()
    assert not torch.allclose(_run(model, x), before)
    _check(model, x)


def test_writes_to_a_folded_norm_are_noticed() -> None:
    model = _resnet()
    sparsify(model, density=0.4, fold_bn=True, engine="native")
    x = torch.randn(2, 3, 64, 64)
    _run(model, x)
    with torch.no_grad():
        model.layer1[0].bn1.weight.mul_(2)
        model.layer1[0].bn2.running_mean.add_(1)
    _check(model, x)


def test_the_state_dict_has_the_dense_keys_and_loads_both_ways() -> None:
    dense, model = _resnet(), _resnet()
    keys = list(dense.state_dict())
    sparsify(model, density=0.4, fold_bn=True, engine="native")
    assert list(model.state_dict()) == keys
    model.load_state_dict(dense.state_dict())
    x = torch.randn(2, 3, 64, 64)
    _check(model, x)
    dense.load_state_dict(model.state_dict())
    assert torch.allclose(_run(dense, x), _run(model, x), atol=1e-4)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_of_a_folded_model_are_folded_and_their_own(clone: object) -> None:
    model = _resnet()
    sparsify(model, density=0.4, fold_bn=True, engine="native")
    x = torch.randn(2, 3, 64, 64)
    y = _run(model, x)
    twin = clone(model)  # type: ignore[operator]
    assert torch.equal(_run(twin, x), y)
    twin.train()
    assert isinstance(model.layer1[0].bn1, nn.Identity)
    assert isinstance(twin.layer1[0].bn1, nn.BatchNorm2d)
    twin.eval()
    with torch.no_grad():
        twin.layer1[0].bn1.weight.mul_(2)
    assert torch.equal(_run(model, x), y)
    assert not torch.equal(_run(twin, x), y)


def test_a_relu_that_serves_several_convolutions_is_not_folded() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.relu = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y = self.relu(self.bn1(self.conv1(x)))
            return self.relu(self.bn2(self.conv2(y)) + x)

    model = nn.Sequential(_seen_norms(Block())).eval()
    sparsify(model, density=0.5, fold_bn=True, engine="native")
    assert isinstance(model[0].bn1, nn.Identity)
    assert type(model[0].relu) is nn.ReLU
    _check(model, torch.randn(1, 4, 6, 6))


def test_a_norm_without_running_statistics_is_not_folded() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    sparsify(model, density=0.5, fold_bn=True, engine="native")
    assert isinstance(model[1], nn.BatchNorm2d)


def test_a_folded_model_compiles_in_one_graph() -> None:
    model = _resnet()
    sparsify(model, density=0.4, fold_bn=True, engine="native")
    x = torch.randn(2, 3, 64, 64)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert torch.allclose(_run(compiled, x), _run(model, x), atol=1e-5)


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(3),
        nn.AvgPool2d(2, 1),
        nn.AvgPool2d(2, padding=1),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.AvgPool2d(2, divisor_override=3),
        nn.MaxPool2d(2),
    ],
)
def test_other_poolings_are_left_alone(pool: nn.Module) -> None:
    assert not NativeAvgPool2x2.fits(pool)


def test_a_native_pool_goes_to_torch_for_what_it_has_no_kernel_for() -> None:
    pool = NativeAvgPool2x2.from_torch(nn.AvgPool2d(2))
    for x in (torch.randn(1, 3, 6, 6).double(), torch.randn(3, 6, 6)):
        assert torch.equal(pool(x), nn.functional.avg_pool2d(x, 2))
