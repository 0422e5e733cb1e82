"""Fixed masks: +0.0 outside, whatever the optimiser does; inside, as if nothing were there."""

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.utils.prune
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.func import functional_call

from sparse_ovs.loop import Ema
from sparse_ovs.nn import SparseConv2d, sparsify
from sparse_ovs.pruning.fixed import FixedMasks
from support import data_parallel, small_runs

_Make = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
_OPTIMIZERS: dict[str, _Make] = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1),
    "SGD momentum": lambda p: torch.optim.SGD(
        p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1
    ),
    "SGD for each": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True),
    "SGD fused": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, fused=True),
    "Adam": lambda p: torch.optim.Adam(p, 0.1, amsgrad=True, weight_decay=0.1),
    "Adam fused": lambda p: torch.optim.Adam(p, 0.1, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1),
    "AdamW for each": lambda p: torch.optim.AdamW(p, 0.1, foreach=True),
    "AdamW fused": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1, fused=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9, centered=True),
    "RMSprop for each": lambda p: torch.optim.RMSprop(p, 0.1, foreach=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.1, initial_accumulator_value=0.5),
    "Adagrad fused": lambda p: torch.optim.Adagrad(p, 0.1, fused=True),
    "Adadelta": lambda p: torch.optim.Adadelta(p, 0.1),
    "Adamax": lambda p: torch.optim.Adamax(p, 0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, 0.1),
    "RAdam": lambda p: torch.optim.RAdam(p, 0.1),
    "ASGD": lambda p: torch.optim.ASGD(p, 0.1),
    "Rprop": lambda p: torch.optim.Rprop(p, 0.1),
    "LBFGS": lambda p: torch.optim.LBFGS(p, 0.1, max_iter=3),
}
_FEW = ["SGD momentum", "AdamW", "AdamW fused", "RMSprop"]


def _model() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(64, 2)
    )


def _masks(density: float = 0.5, seed: int = 3) -> dict[str, Tensor]:
    """Masks of a lower density are inside those of a higher one."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"0": (4, 3, 3, 3), "4": (2, 64)}
    return {n: torch.rand(shape, generator=generator) < density for n, shape in shapes.items()}


def _loss(model: nn.Module, step: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    return (model(torch.randn(5, 3, 6, 6, generator=generator)) - 1).square().mean()


def _steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int, first: int = 0) -> None:
    for step in range(first, first + count):

        def closure(step: int = step) -> Tensor:
            optimizer.zero_grad()
            loss = _loss(model, step)
            loss.backward()
            return loss

        optimizer.step(closure)


def _positive_zero(tensor: Tensor) -> bool:
    """All bits are 0: neither -0.0 nor anything else."""
    return bool(tensor.detach().contiguous().view(torch.int32).eq(0).all())


def _assert_zero_outside(model: nn.Module, masks: dict[str, Tensor]) -> None:
    for name, mask in masks.items():
        assert _positive_zero(model.get_submodule(name).weight[~mask]), name


def _assert_state_zero_outside(
    optimizer: torch.optim.Optimizer, model: nn.Module, masks: dict[str, Tensor]
) -> int:
    count = 0
    for name, mask in masks.items():
        weight = model.get_submodule(name).weight
        for key, value in optimizer.state[weight].items():
            if isinstance(value, Tensor) and value.shape == mask.shape:
                assert _positive_zero(value[~mask]), (name, key)
                assert value[mask].count_nonzero() > 0, (name, key)
                count += 1
    return count


@given(st.sampled_from([0.0, -0.0, -1.0, float("nan"), float("inf"), -float("inf")]))
def test_weights_outside_are_zero_at_once_whatever_they_were(value: float) -> None:
    model, masks = _model(), _masks()
    before = copy.deepcopy(model)
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_submodule(name).weight[~mask] = value
    FixedMasks(model, masks)
    _assert_zero_outside(model, masks)
    for name, mask in masks.items():
        kept = model.get_submodule(name).weight[mask]
        assert torch.equal(kept, before.get_submodule(name).weight[mask])


@pytest.mark.parametrize("made", ["before", "after", "in the middle of a run"])
@pytest.mark.parametrize("kind", _OPTIMIZERS)
def test_weights_and_state_outside_are_zero_after_every_step(kind: str, made: str) -> None:
    model, masks = _model(), _masks()
    if made == "after":
        fixed = FixedMasks(model, masks)
    optimizer = _OPTIMIZERS[kind](model.parameters())
    if made == "in the middle of a run":
        _steps(model, optimizer, 2)  # momentum in all weights
    if made != "after":
        fixed = FixedMasks(model, masks)
    fixed.attach(optimizer)
    before = copy.deepcopy(model)
    for step in range(3):
        _steps(model, optimizer, 1, step)
        _assert_zero_outside(model, masks)
        _assert_state_zero_outside(optimizer, model, masks)
    for name, mask in masks.items():  # and the others are trained
        moved = model.get_submodule(name).weight != before.get_submodule(name).weight
        assert moved[mask].float().mean() > 0.9


def test_momentum_is_cut_as_soon_as_the_optimiser_is_attached() -> None:
    model, masks = _model(), _masks()
    optimizer = _OPTIMIZERS["Adam"](model.parameters())
    _steps(model, optimizer, 2)
    FixedMasks(model, masks).attach(optimizer)
    assert _assert_state_zero_outside(optimizer, model, masks) == 6


@pytest.mark.parametrize("kind", ["SGD momentum", "AdamW", "RMSprop", "Adagrad"])
def test_kept_weights_train_as_in_a_model_that_multiplies_by_its_masks(kind: str) -> None:
    model, masks = _model(), _masks()
    optimizer = _OPTIMIZERS[kind](model.parameters())
    FixedMasks(model, masks).attach(optimizer)
    _steps(model, optimizer, 4)

    plain = _model()
    oracle = _OPTIMIZERS[kind](plain.parameters())
    for step in range(4):
        oracle.zero_grad()
        products = {f"{n}.weight": plain.get_submodule(n).weight * m for n, m in masks.items()}
        _loss(lambda x, p=products: functional_call(plain, p, (x,)), step).backward()
        oracle.step()
    for name, value in plain.state_dict().items():
        layer, _, attribute = name.partition(".")
        inside = masks[layer] if attribute == "weight" and layer in masks else ...
        assert torch.equal(model.state_dict()[name][inside], value[inside])


def test_gradients_outside_are_zero_before_anything_sees_them() -> None:
    model, masks = _model(), _masks()
    FixedMasks(model, masks)
    dense = copy.deepcopy(model)
    _loss(model).backward()
    _loss(dense).backward()
    squares = 0.0
    for (name, p), q in zip(model.named_parameters(), dense.parameters(), strict=True):
        layer, _, attribute = name.partition(".")
        inside = masks[layer] if attribute == "weight" and layer in masks else ...
        assert torch.equal(p.grad[inside], q.grad[inside])
        squares += q.grad[inside].double().square().sum().item()
    _assert_gradients_zero_outside(model, masks)
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    assert norm.item() == pytest.approx(squares**0.5)


def test_gradients_that_accumulate_stay_zero_outside() -> None:
    model, masks = _model(), _masks()
    FixedMasks(model, masks)
    for step in range(3):
        _loss(model, step).backward()
        _assert_gradients_zero_outside(model, masks)


def test_gradients_set_by_hand_do_not_reach_the_optimisers_state() -> None:
    model, masks = _model(), _masks()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    FixedMasks(model, masks).attach(optimizer)
    for p in model.parameters():
        p.grad = torch.full_like(p, float("nan"))
        p.grad[:1] = 1.0
    optimizer.step()
    _assert_zero_outside(model, masks)
    _assert_gradients_zero_outside(model, masks)


def test_a_frozen_layer_stays_frozen_and_masked_once_it_is_trained_again() -> None:
    model, masks = _model(), _masks()
    model[0].weight.requires_grad_(False)
    fixed = FixedMasks(model, masks)
    assert not model[0].weight.requires_grad
    _loss(model).backward()
    assert model[0].weight.grad is None
    model[0].weight.requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters())
    fixed.attach(optimizer)
    _loss(model).backward()
    _assert_gradients_zero_outside(model, masks)


@pytest.mark.parametrize("kind", _FEW)
def test_a_step_that_a_scaler_skips_leaves_zeros_and_dead_infs_skip_none(kind: str) -> None:
    model, masks = _model(), _masks()
    optimizer = _OPTIMIZERS[kind](model.parameters())
    FixedMasks(model, masks).attach(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1)

    def step(spoil: bool) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = _loss(model)
        scaler.scale(loss).backward()
        if spoil:
            model[0].weight.grad[masks["0"]] = float("inf")
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()

    for spoil, scale in ((False, 16.0), (True, 8.0), (False, 16.0)):
        before = model[0].weight.detach().clone()
        step(spoil)
        assert scaler.get_scale() == scale
        assert torch.equal(model[0].weight, before) == spoil
        _assert_zero_outside(model, masks)
        _assert_state_zero_outside(optimizer, model, masks)


def test_infinite_gradients_of_dead_weights_are_not_seen_by_a_scaler() -> None:
    model = nn.Linear(2, 1, bias=False)
    fixed = FixedMasks(model, {"": torch.tensor([[True, False]])})
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    fixed.attach(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    before = model.weight.detach().clone()
    # The gradient of a weight is its input; the product with 0 is left out, for 0 * inf is nan.
    loss = (model.weight * torch.tensor([1.0, 3e38])).sum()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 8.0
    assert model.weight[0, 0] != before[0, 0]
    assert _positive_zero(model.weight[0, 1])


@pytest.mark.parametrize("kind", _FEW)
def test_smaller_masks_apply_at_once_to_weights_gradients_state_and_copies(kind: str) -> None:
    model, smaller = _model(), _masks(0.25)
    ema = Ema(model, 0.9)
    optimizer = _OPTIMIZERS[kind](model.parameters())
    fixed = FixedMasks(model, _masks(0.5))
    fixed.attach(optimizer)
    fixed.follow(ema.model)
    _assert_zero_outside(ema.model, _masks(0.5))
    _steps(model, optimizer, 2)
    ema.update()
    fixed.update(smaller)
    _assert_zero_outside(model, smaller)
    _assert_gradients_zero_outside(model, smaller)
    assert _assert_state_zero_outside(optimizer, model, smaller) > 0
    _assert_zero_outside(ema.model, smaller)
    for step in range(3):
        _steps(model, optimizer, 1, step)
        ema.update()
        _assert_zero_outside(model, smaller)
        _assert_zero_outside(ema.model, smaller)
    assert all(torch.equal(fixed.masks[name], mask) for name, mask in smaller.items())


def test_masks_that_wake_pruned_weights_are_refused_and_change_nothing() -> None:
    model, masks = _model(), _masks(0.5)
    fixed = FixedMasks(model, masks)
    before = copy.deepcopy(model.state_dict())
    woken = {name: int((~mask & _masks(0.75)[name]).sum()) for name, mask in masks.items()}
    message = (
        "expected masks that fit the model, got "
        f"0: keeps {woken['0']} weights that were pruned; "
        f"4: keeps {woken['4']} weights that were pruned"
    )
    with pytest.raises(ValueError, match=message):
        fixed.update(_masks(0.75))
    with pytest.raises(ValueError, match="got 0: keeps"):
        fixed.update({"0": _masks(0.75)["0"], "4": _masks(0.25)["4"]})
    assert all(torch.equal(fixed.masks[name], mask) for name, mask in masks.items())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_state_comes_back_and_is_applied() -> None:
    model, masks = _model(), _masks(0.25)
    state = FixedMasks(_model(), masks).state_dict()
    fixed = FixedMasks(model, _masks(0.5))
    fixed.load_state_dict(state)
    _assert_zero_outside(model, masks)
    assert all(torch.equal(fixed.masks[name], mask) for name, mask in masks.items())
    fixed.load_state_dict({"masks": _masks(0.5)})  # an older checkpoint than the present masks
    assert all(torch.equal(fixed.masks[name], mask) for name, mask in _masks(0.5).items())


def test_the_state_is_a_copy() -> None:
    fixed = FixedMasks(_model(), _masks())
    fixed.state_dict()["masks"]["0"].fill_(True)
    fixed.masks["4"].fill_(True)
    assert all(torch.equal(fixed.masks[name], mask) for name, mask in _masks().items())


def test_the_callers_masks_may_change_afterwards() -> None:
    given_masks = _masks()
    fixed = FixedMasks(_model(), given_masks)
    given_masks["0"].fill_(True)
    fixed.update(given_masks := _masks(0.25))
    given_masks["0"].fill_(True)
    assert torch.equal(fixed.masks["0"], _masks(0.25)["0"])


def test_apply_masks_what_was_loaded_into_the_model() -> None:
    model, masks = _model(), _masks()
    fixed = FixedMasks(model, masks)
    model.load_state_dict(_model().state_dict())
    assert model[0].weight[~masks["0"]].count_nonzero() > 0
    fixed.apply()
    _assert_zero_outside(model, masks)


class _Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_names_fit_with_and_without_a_wrappers_prefix(wrapped: bool, prefix: str) -> None:
    inner, masks = _model(), _masks()
    model = _Wrapper(torch.compile(inner)) if wrapped else inner
    fixed = FixedMasks(model, {prefix + name: mask for name, mask in masks.items()})
    _assert_zero_outside(inner, masks)
    assert set(fixed.masks) == {"0", "4"}
    fixed.update({prefix + name: mask for name, mask in _masks(0.25).items()})
    _assert_zero_outside(inner, _masks(0.25))


def test_masks_follow_a_model_to_another_dtype() -> None:
    model, masks = _model(), _masks()
    fixed = FixedMasks(model, masks)
    model.double()
    optimizer = torch.optim.Adam(model.parameters())
    fixed.attach(optimizer)
    model(torch.randn(5, 3, 6, 6, dtype=torch.float64)).sum().backward()
    optimizer.step()
    for name, mask in masks.items():
        assert model.get_submodule(name).weight[~mask].count_nonzero() == 0


def test_a_sparse_layer_notices_that_its_weights_were_masked() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3, bias=False))
    sparsify(model, "unstructured", 0.5, engine="native")
    layer = model[0]
    assert isinstance(layer, SparseConv2d)
    image = torch.randn(1, 8, 6, 6)
    layer(image)
    mask = layer.mask & (torch.rand(layer.mask.shape) < 0.5)
    FixedMasks(model, {"0": mask})
    expected = nn.functional.conv2d(image, layer.weight * mask)
    torch.testing.assert_close(layer(image), expected)


def test_an_attentions_weights_are_masked_under_the_names_of_its_projections() -> None:
    model = nn.Sequential(nn.MultiheadAttention(8, 2, batch_first=True))
    shapes = {"0.in_proj": (24, 8), "0.out_proj": (8, 8)}
    masks = {name: torch.rand(shape) < 0.5 for name, shape in shapes.items()}
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    FixedMasks(model, masks).attach(optimizer)
    weights = {"0.in_proj": model[0].in_proj_weight, "0.out_proj": model[0].out_proj.weight}
    for _ in range(2):
        image = torch.randn(2, 5, 8)
        model[0](image, image, image)[0].square().sum().backward()
        optimizer.step()
        for name, mask in masks.items():
            assert _positive_zero(weights[name][~mask])
            assert _positive_zero(weights[name].grad[~mask])
            assert weights[name][mask].count_nonzero() == mask.sum()


def test_removed_masks_let_go() -> None:
    model, masks = _model(), _masks()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    fixed = FixedMasks(model, masks)
    fixed.attach(optimizer)
    fixed.remove()
    _steps(model, optimizer, 1)
    assert model[0].weight[~masks["0"]].count_nonzero() > 0


def _assert_gradients_zero_outside(model: nn.Module, masks: dict[str, Tensor]) -> None:
    for name, mask in masks.items():
        gradient = model.get_submodule(name).weight.grad
        assert gradient is not None
        assert _positive_zero(gradient[~mask])


def _wrong(changes: dict[str, Any]) -> dict[str, Tensor]:
    return {name: mask for name, mask in {**_masks(), **changes}.items() if mask is not None}


_WRONG: list[tuple[dict[str, Any], str]] = [
    ({"9": torch.ones(1).bool()}, "9: no such layer"),
    ({"2": torch.ones(1).bool()}, "2: no such layer"),
    ({"0": _masks()["0"][:2]}, r"0: shape \(2, 3, 3, 3\), not \(4, 3, 3, 3\)"),
    ({"0": _masks()["0"].float()}, "0: dtype torch.float32, not bool"),
    (
        {"0": _masks()["4"], "4": _masks()["4"].int(), "x.y": torch.ones(1).bool()},
        r"0: shape .*; 4: dtype .*; x\.y: no such layer",
    ),
]


@pytest.mark.parametrize(
    ("changes", "message"),
    [*_WRONG, ({"module.0": _masks()["0"]}, "0: given twice")],
)
def test_masks_that_do_not_fit_are_refused_all_at_once(
    changes: dict[str, Any], message: str
) -> None:
    model = _model()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=f"expected masks that fit the model, got {message}$"):
        FixedMasks(model, _wrong(changes))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *_WRONG[2:4],
        ({"0": None}, "0: no mask"),
        ({"0": None, "4": _masks()["0"], "9": torch.ones(1)}, "0: no mask; 4: shape .*; 9: no"),
    ],
)
def test_new_masks_that_do_not_fit_are_refused_all_at_once(
    changes: dict[str, Any], message: str
) -> None:
    fixed = FixedMasks(_model(), _masks())
    for replace in (fixed.update, lambda masks: fixed.load_state_dict({"masks": masks})):
        with pytest.raises(ValueError, match=f"expected masks that fit the model, got {message}"):
            replace(_wrong(changes))


def test_a_copy_of_another_model_is_refused() -> None:
    fixed = FixedMasks(_model(), _masks())
    with pytest.raises(ValueError, match="got 0: no such layer; 4: no such layer"):
        fixed.follow(nn.Sequential(nn.Tanh()))


def test_weights_that_are_computed_are_refused() -> None:
    model = _model()
    torch.nn.utils.prune.identity(model[0], "weight")
    with pytest.raises(ValueError, match="got 0: its weight is computed, not a parameter"):
        FixedMasks(model, _masks())


def test_an_optimiser_of_other_weights_is_refused() -> None:
    fixed = FixedMasks(_model(), _masks())
    with pytest.raises(ValueError, match="expected an optimiser of the masked weights, got one of"):
        fixed.attach(torch.optim.SGD(_model().parameters(), 0.1))


def test_two_processes_keep_the_same_zeros_and_train_as_one(tmp_path: Path) -> None:
    children = [small_runs.process(data_parallel.train, rank, tmp_path) for rank in range(2)]
    for child in children:
        child.join()
        assert child.exitcode == 0

    model, masks = data_parallel.build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(4):
        if step == 2:
            FixedMasks(model, masks).attach(optimizer)
        optimizer.zero_grad()
        images = torch.cat([data_parallel.batch(step, rank) for rank in range(2)])
        model(images).square().mean().backward()
        optimizer.step()
    first, second = (load_file(tmp_path / f"rank{rank}") for rank in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name])
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(first[name], parameter.detach(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(first[f"{name}.grad"], parameter.grad, rtol=1e-4, atol=1e-5)
    for name, mask in masks.items():
        assert _positive_zero(first[f"{name}.weight"][~mask])
        assert _positive_zero(first[f"{name}.weight.grad"][~mask])
