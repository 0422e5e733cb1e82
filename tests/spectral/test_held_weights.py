"""Rows of attention's joint projection: held to the bit, without gradient; the others as ever."""

import copy
import gc
import sys

import pytest
import torch
from torch import Tensor, nn

from sparse_ovs.nn import SparseMultiheadAttention, sparsify
from sparse_ovs.spectral import freeze, spectral_layers
from support.small_freezing import OPTIMIZERS

Q, K, V = slice(0, 8), slice(8, 16), slice(16, 24)


class _Attend(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
        nn.init.normal_(self.attn.in_proj_bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x, x, x, need_weights=False)[0]


def _model(sparse: bool = False) -> _Attend:
    model = _Attend()
    if sparse:
        sparsify(model, "unstructured", 0.5, engine="native")
        assert isinstance(model.attn, SparseMultiheadAttention)
    return model.train()


def _loss(model: nn.Module, step: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    return (model(torch.randn(2, 5, 8, generator=generator)) - 1).square().mean()


def _steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
    for step in range(count):

        def closure(step: int = step) -> Tensor:
            optimizer.zero_grad()
            loss = _loss(model, step)
            loss.backward()
            return loss

        optimizer.step(closure)


def _joint(model: _Attend) -> list[Tensor]:
    return [model.attn.in_proj_weight, model.attn.in_proj_bias]


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.detach().view(torch.int32), b.detach().view(torch.int32))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("made", ["before", "after", "in the middle of a run"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_frozen_parts_stay_to_the_bit_and_the_others_learn(
    kind: str, made: str, sparse: bool
) -> None:
    model = _model(sparse)
    if made == "after":
        freeze(model, ["attn.in_proj.q", "attn.in_proj.v"])
    optimizer = OPTIMIZERS[kind](model.parameters())
    if made == "in the middle of a run":
        _steps(model, optimizer, 2)
    if made != "after":
        assert freeze(model, ["attn.in_proj.v", "attn.in_proj.q"]).layers == (
            "attn.in_proj.q",
            "attn.in_proj.v",
        )
    before = [parameter.detach().clone() for parameter in _joint(model)]
    _steps(model, optimizer, 3)
    for parameter, old in zip(_joint(model), before, strict=True):
        assert _same(parameter[Q], old[Q])
        assert _same(parameter[V], old[V])
    assert not torch.equal(model.attn.in_proj_weight[K], before[0][K])


@pytest.mark.parametrize("kind", ["SGD", "Adam", "RMSprop"])
def test_the_state_of_frozen_rows_stays(kind: str) -> None:
    model = _model()
    optimizer = OPTIMIZERS[kind](model.parameters())
    _steps(model, optimizer, 2)
    freeze(model, ["attn.in_proj.k"])
    before = copy.deepcopy(optimizer.state[model.attn.in_proj_weight])
    _steps(model, optimizer, 2)
    compared = 0
    for key, value in optimizer.state[model.attn.in_proj_weight].items():
        if value.dim() == 2:
            assert torch.equal(value[K], before[key][K])
            assert not torch.equal(value[Q], before[key][Q])
            compared += 1
    assert compared > 0


def test_gradients_of_frozen_rows_are_zero_and_the_others_as_ever() -> None:
    model = _model()
    twin = copy.deepcopy(model)
    freeze(model, ["attn.in_proj.k"])
    for step in range(2):  # accumulated
        _loss(model, step).backward()
        _loss(twin, step).backward()
    for ours, theirs in zip(_joint(model), _joint(twin), strict=True):
        assert ours.grad[K].count_nonzero() == 0
        assert torch.equal(ours.grad[Q], theirs.grad[Q])
        assert torch.equal(ours.grad[V], theirs.grad[V])
        assert theirs.grad[K].count_nonzero() > 0


def test_gradients_of_frozen_rows_are_zero_though_they_were_not_numbers() -> None:
    model = _model()
    freeze(model, ["attn.in_proj.v"])
    (model(torch.ones(1, 3, 8)).sum() * float("nan")).backward()
    assert model.attn.in_proj_weight.grad[V].eq(0).all()
    assert model.attn.in_proj_weight.grad[Q].isnan().any()


def test_a_gradient_that_was_there_is_zeroed_in_frozen_rows() -> None:
    model = _model()
    _loss(model).backward()
    freeze(model, ["attn.in_proj.v"])
    assert model.attn.in_proj_weight.grad[V].count_nonzero() == 0
    assert model.attn.in_proj_weight.grad[Q].count_nonzero() > 0


@pytest.mark.parametrize(
    "names", [["attn.in_proj"], [f"module.attn.in_proj.{part}" for part in "qkv"]]
)
def test_all_three_parts_take_no_gradient_at_all(names: list[str]) -> None:
    model = _model()
    freeze(model, names)
    _loss(model).backward()
    assert all(parameter.grad is None for parameter in _joint(model))
    assert model.attn.out_proj.weight.grad is not None


def test_the_output_projection_is_a_layer_of_its_own() -> None:
    model = _model()
    freeze(model, ["attn.out_proj"])
    _loss(model).backward()
    assert model.attn.out_proj.weight.grad is None
    assert model.attn.out_proj.bias.grad is None
    assert model.attn.in_proj_weight.grad.count_nonzero() > 0


def test_thawed_rows_learn_as_ever() -> None:
    model = _model()
    twin = copy.deepcopy(model)
    freeze(model, ["attn.in_proj.q"]).thaw()
    for one in (model, twin):
        _steps(one, OPTIMIZERS["SGD"](one.parameters()), 2)
    assert torch.equal(model.attn.in_proj_weight, twin.attn.in_proj_weight)


def test_rows_stay_though_the_freezing_was_not_kept() -> None:
    model = _model()
    freeze(model, ["attn.in_proj.q"])
    gc.collect()
    before = model.attn.in_proj_weight.detach().clone()
    _steps(model, OPTIMIZERS["SGD"](model.parameters()), 2)
    assert _same(model.attn.in_proj_weight[Q], before[Q])


def test_what_is_loaded_between_steps_is_held_from_then_on() -> None:
    model, other = _model(), _model()
    with torch.no_grad():
        other.attn.in_proj_weight.add_(1)
    freeze(model, ["attn.in_proj.q"])
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    _steps(model, optimizer, 1)
    model.load_state_dict(other.state_dict())
    _steps(model, optimizer, 1)
    assert _same(model.attn.in_proj_weight[Q], other.attn.in_proj_weight[Q])


def test_no_watch_is_kept_on_optimisers_once_the_model_is_gone() -> None:
    before = _watchers()
    model = _model()
    freeze(model, ["attn.in_proj.q"])
    assert _watchers() == before + 2
    del model
    gc.collect()
    assert _watchers() == before


def _watchers() -> int:
    module = sys.modules["torch.optim.optimizer"]
    return len(module._global_optimizer_pre_hooks) + len(module._global_optimizer_post_hooks)


@pytest.mark.parametrize("part", "qkv")
def test_every_part_that_has_a_spectrum_can_be_frozen_by_its_name(part: str) -> None:
    model = _model()
    names = [layer.name for layer in spectral_layers(model)]
    assert f"attn.in_proj.{part}" in names
    before = dict(zip("qkv", model.attn.in_proj_weight.detach().clone().chunk(3), strict=True))
    freeze(model, [f"attn.in_proj.{part}"])
    _steps(model, OPTIMIZERS["SGD"](model.parameters()), 1)
    now = dict(zip("qkv", model.attn.in_proj_weight.chunk(3), strict=True))
    assert [p for p in "qkv" if _same(now[p], before[p])] == [part]
