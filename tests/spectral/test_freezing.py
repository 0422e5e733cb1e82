"""Frozen layers stay to the bit, whatever trains the rest; thawed, everything learns again."""

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.nn.utils.prune
from safetensors.torch import load_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sparse_ovs.nn import sparsify
from sparse_ovs.pruning.fixed import FixedMasks
from sparse_ovs.spectral import freeze
from support import freeze_parallel, small_runs
from support.small_freezing import (
    OF_LAYERS,
    OF_NORM,
    OPTIMIZERS,
    loss_of,
    moved,
    small_model,
    state_of,
    steps,
)
from support.small_trunks import small_trunk


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("made", ["before", "after", "in the middle of a run"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_frozen_layers_stay_to_the_bit_and_the_rest_learns(
    kind: str, made: str, sparse: bool
) -> None:
    model = small_model(sparse)
    if made == "after":
        freeze(model, ["0", "6"])
    optimizer = OPTIMIZERS[kind](model.parameters())
    if made == "in the middle of a run":
        steps(model, optimizer, 2)  # momentum in all weights
    if made != "after":
        freeze(model, ["0", "6"])
    before = state_of(model)
    steps(model, optimizer, 3)
    assert moved(model, before) == set(before) - OF_LAYERS


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "RMSprop"])
def test_the_state_of_an_optimiser_stays_with_the_frozen_layer(kind: str) -> None:
    model = small_model()
    optimizer = OPTIMIZERS[kind](model.parameters())
    steps(model, optimizer, 2)
    before = copy.deepcopy(optimizer.state[model[0].weight])
    freeze(model, ["0"])
    steps(model, optimizer, 2)
    for key, value in optimizer.state[model[0].weight].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(before[key]))


def test_a_gradient_that_was_there_does_not_reach_the_next_step() -> None:
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loss_of(model).backward()
    freeze(model, ["0"])
    before = model[0].weight.detach().clone()
    optimizer.step()
    assert torch.equal(model[0].weight, before)


def test_no_gradient_is_computed_for_frozen_weights_and_that_of_others_is_the_same() -> None:
    model = small_model()
    twin = copy.deepcopy(model)
    freeze(model, ["2"])
    loss_of(model).backward()
    loss_of(twin).backward()
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        if name.startswith("2."):
            assert p.grad is None
        else:
            assert torch.equal(p.grad, q.grad)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("norms", [False, True])
def test_thawing_restores_everything(norms: bool, mode: bool) -> None:
    model = small_model().train(mode)
    model[2].bias.requires_grad_(False)
    kinds = [type(module) for module in model.modules()]
    learn = [p.requires_grad for p in model.parameters()]
    keys = [set(module.__dict__) for module in model.modules()]
    freezing = freeze(model, ["0", "2"], norms=norms)
    assert sum(p.requires_grad for p in model.parameters()) == (2 if norms else 6)
    freezing.thaw()
    freezing.thaw()
    assert [p.requires_grad for p in model.parameters()] == learn
    assert [type(module) for module in model.modules()] == kinds
    assert [set(module.__dict__) for module in model.modules()] == keys
    assert [module.training for module in model.modules()] == [mode] * len(kinds)


def test_a_thawed_model_trains_as_one_that_never_was_frozen() -> None:
    model = small_model()
    twin = copy.deepcopy(model)
    freeze(model, ["0", "6"], norms=True).thaw()
    for one in (model, twin):
        steps(one, OPTIMIZERS["Adam"](one.parameters()), 3)
    assert not moved(model, state_of(twin))


def test_freezings_can_be_nested() -> None:
    model = small_model()
    first = freeze(model, ["0"], norms=True)
    second = freeze(model, ["0", "2"], norms=True)
    second.thaw()
    assert [p.requires_grad for p in model.parameters()] == [False] * 4 + [True] * 6
    assert not model.train()[1].training
    first.thaw()
    assert all(p.requires_grad for p in model.parameters())
    assert model[1].training


def test_gradients_accumulate_for_what_learns_alone() -> None:
    model = small_model()
    freeze(model, ["0", "6"], norms=True)
    optimizer = OPTIMIZERS["AdamW"](model.parameters())
    before = state_of(model)
    for step in range(3):
        loss_of(model, step).backward()
    optimizer.step()
    assert not moved(model, before) & (OF_LAYERS | OF_NORM)
    assert "2.weight" in moved(model, before)


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "RMSprop"])
def test_frozen_layers_stay_under_autocast_and_a_scaler(kind: str) -> None:
    model = small_model()
    freeze(model, ["0", "6"], norms=True)
    optimizer = OPTIMIZERS[kind](model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    before = state_of(model)
    for step in range(2):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, step)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert not moved(model, before) & (OF_LAYERS | OF_NORM)
    assert "2.weight" in moved(model, before)


def test_a_layer_may_be_both_frozen_and_held_by_masks() -> None:
    model = small_model()
    mask = torch.rand(model[0].weight.shape) < 0.5
    fixed = FixedMasks(model, {"0": mask})
    freezing = freeze(model, ["0"])
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    fixed.attach(optimizer)
    before = state_of(model)
    steps(model, optimizer, 2)
    assert not moved(model, before) & {"0.weight", "0.bias"}
    freezing.thaw()
    steps(model, optimizer, 2)
    assert model[0].weight[~mask].count_nonzero() == 0
    assert not torch.equal(model[0].weight, before["0.weight"])


def test_a_layer_that_is_made_sparse_later_stays_frozen() -> None:
    model = small_model()
    freezing = freeze(model, ["0"])
    sparsify(model, "unstructured", 0.5, engine="native")
    before = state_of(model)
    steps(model, OPTIMIZERS["AdamW"](model.parameters()), 2)
    assert not moved(model, before) & {"0.weight", "0.bias"}
    freezing.thaw()
    assert model[0].weight.requires_grad


def test_weights_that_are_computed_are_frozen_in_what_they_are_computed_from() -> None:
    model = small_model()
    torch.nn.utils.prune.random_unstructured(model[0], "weight", 0.5)
    torch.nn.utils.parametrizations.weight_norm(model[2])
    freeze(model, ["0", "2"])
    before = state_of(model)
    steps(model, OPTIMIZERS["AdamW"](model.parameters()), 2)
    assert not [name for name in moved(model, before) if name.startswith(("0.", "2."))]


def test_freezing_nothing_changes_nothing() -> None:
    trunk = small_trunk()
    freezing = freeze(trunk, [], norms=True)
    assert freezing.layers == freezing.norms == ()
    assert all(p.requires_grad for p in trunk.parameters())


def test_two_processes_train_what_is_not_frozen_as_one(tmp_path: Path) -> None:
    children = [small_runs.process(freeze_parallel.train, rank, tmp_path) for rank in range(2)]
    for child in children:
        child.join()
        assert child.exitcode == 0

    model = freeze_parallel.build()
    before = state_of(model)
    freeze_parallel.freeze_some(model)
    optimizer = freeze_parallel.optimizer_of(model)
    for step in range(freeze_parallel.STEPS):
        optimizer.zero_grad()
        images = torch.cat([freeze_parallel.batch(step, rank) for rank in range(2)])
        model(images).square().mean().backward()
        optimizer.step()
    first, second = (load_file(tmp_path / f"rank{rank}") for rank in range(2))
    moved = {name for name in first if not torch.equal(first[name], before[name])}
    assert moved == freeze_parallel.LEARN
    for name, value in first.items():
        assert torch.equal(value, second[name])
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-4, atol=1e-5)
    rows = freeze_parallel.FROZEN_ROWS
    name = "attend.attention.in_proj_weight"
    assert torch.equal(first[name][rows], before[name][rows])


@pytest.mark.parametrize("inside", [False, True])
def test_a_model_that_is_wrapped_for_data_parallel_is_refused(inside: bool, tmp_path: Path) -> None:
    dist.init_process_group("gloo", f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        model: nn.Module = DistributedDataParallel(small_model())
        model = nn.Sequential(model, nn.Linear(2, 2)) if inside else model
        with pytest.raises(ValueError, match="got one that is: freeze first, then wrap"):
            freeze(model, ["module.0"])
    finally:
        dist.destroy_process_group()
