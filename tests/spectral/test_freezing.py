"""Frozen layers stay to the bit, whatever trains the rest; thawed, everything learns again."""

import copy
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path

import freeze_parallel
import pytest
import small_runs
import torch
import torch.distributed as dist
import torch.nn.utils.prune
from safetensors.torch import load_file
from small_trunks import convs, small_trunk
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sparse_ovs.nn import sparsify
from sparse_ovs.pruning.fixed import FixedMasks
from sparse_ovs.spectral import SelectedLayer, Selection, freeze


class _DecaysAll(torch.optim.Optimizer):
    """Not torch's: it decays weights without a gradient too."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> None:
        with torch.enable_grad():
            closure()
        for p in self.param_groups[0]["params"]:
            p.mul_(0.9).sub_(0.01)


_Make = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
OPTIMIZERS: dict[str, _Make] = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "SGD for each": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, foreach=True),
    "SGD fused": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1, fused=True),
    "Adam": lambda p: torch.optim.Adam(p, 0.1, amsgrad=True, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1),
    "AdamW for each": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1, foreach=True),
    "AdamW fused": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1, fused=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9, centered=True, weight_decay=0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, 0.1, weight_decay=0.1),
    "Rprop": lambda p: torch.optim.Rprop(p, 0.1),
    "LBFGS": lambda p: torch.optim.LBFGS(p, 0.1, max_iter=3),
    "decays all": lambda p: _DecaysAll(p, {"lr": 0.1}),
}


def _model(sparse: bool = False) -> nn.Sequential:
    torch.manual_seed(2)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 4, 1),
        nn.BatchNorm2d(4),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(64, 2),
    )
    if sparse:
        sparsify(model, "unstructured", 0.5, engine="native")
    return model.train()


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


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _moved(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """What is no longer the same to the bit."""
    now = model.state_dict()
    return {name for name in now if not torch.equal(_bits(now[name]), _bits(before[name]))}


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().view(-1).view(torch.uint8)


_OF_LAYERS = {"0.weight", "0.bias", "6.weight", "6.bias"}
_OF_NORM = {"1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("made", ["before", "after", "in the middle of a run"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_frozen_layers_stay_to_the_bit_and_the_rest_learns(
    kind: str, made: str, sparse: bool
) -> None:
    model = _model(sparse)
    if made == "after":
        freeze(model, ["0", "6"])
    optimizer = OPTIMIZERS[kind](model.parameters())
    if made == "in the middle of a run":
        _steps(model, optimizer, 2)  # momentum in all weights
    if made != "after":
        freeze(model, ["0", "6"])
    before = _state(model)
    _steps(model, optimizer, 3)
    assert _moved(model, before) == set(before) - _OF_LAYERS


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "RMSprop"])
def test_the_state_of_an_optimiser_stays_with_the_frozen_layer(kind: str) -> None:
    model = _model()
    optimizer = OPTIMIZERS[kind](model.parameters())
    _steps(model, optimizer, 2)
    before = copy.deepcopy(optimizer.state[model[0].weight])
    freeze(model, ["0"])
    _steps(model, optimizer, 2)
    for key, value in optimizer.state[model[0].weight].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(before[key]))


def test_a_gradient_that_was_there_does_not_reach_the_next_step() -> None:
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    _loss(model).backward()
    freeze(model, ["0"])
    before = model[0].weight.detach().clone()
    optimizer.step()
    assert torch.equal(model[0].weight, before)


def test_no_gradient_is_computed_for_frozen_weights_and_that_of_others_is_the_same() -> None:
    model = _model()
    twin = copy.deepcopy(model)
    freeze(model, ["2"])
    _loss(model).backward()
    _loss(twin).backward()
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        if name.startswith("2."):
            assert p.grad is None
        else:
            assert torch.equal(p.grad, q.grad)


def test_norms_are_left_to_learn_unless_asked_for() -> None:
    model = _model()
    assert freeze(model, ["0"]).norms == ()
    optimizer = OPTIMIZERS["AdamW"](model.parameters())
    before = _state(model)
    _steps(model, optimizer, 1)
    assert _moved(model, before) >= _OF_NORM


@pytest.mark.parametrize("sparse", [False, True])
def test_a_frozen_norm_keeps_its_parameters_and_statistics_through_train(sparse: bool) -> None:
    model = _model(sparse)
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    _steps(model, optimizer, 2)
    freezing = freeze(model, ["0", "6"], norms=True)
    assert freezing.layers == ("0", "6")
    assert freezing.norms == ("1",)
    before = _state(model)
    for step in range(3):
        model.eval()
        model.train()
        _steps(model, optimizer, 1, step)
    assert not _moved(model, before) & (_OF_LAYERS | _OF_NORM)
    assert not model[1].training
    assert model[3].training


def test_a_frozen_norm_normalises_by_its_statistics_in_training() -> None:
    model = _model()
    _steps(model, OPTIMIZERS["SGD"](model.parameters()), 1)
    freeze(model, ["0"], norms=True)
    model.train()
    x = torch.randn(2, 8, 5, 5)
    norm = model[1]
    expected = nn.functional.batch_norm(
        x, norm.running_mean, norm.running_var, norm.weight, norm.bias
    )
    assert torch.equal(norm(x), expected)


def test_the_norm_that_a_sparse_convolution_has_folded_is_frozen() -> None:
    model = _model().eval()
    sparsify(model, "unstructured", 0.5, engine="native", fold_bn="eval")
    freeze(model, ["0"], norms=True)
    model.train()
    before = _state(model)
    _steps(model, OPTIMIZERS["SGD"](model.parameters()), 2)
    assert not _moved(model, before) & _OF_NORM
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


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("norms", [False, True])
def test_thawing_restores_everything(norms: bool, mode: bool) -> None:
    model = _model().train(mode)
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


def test_a_thawed_norm_is_in_the_mode_that_the_model_was_put_in() -> None:
    model = _model().train()
    freezing = freeze(model, ["0"], norms=True)
    model.eval()
    freezing.thaw()
    assert not model[1].training


def test_a_thawed_model_trains_as_one_that_never_was_frozen() -> None:
    model = _model()
    twin = copy.deepcopy(model)
    freeze(model, ["0", "6"], norms=True).thaw()
    for one in (model, twin):
        _steps(one, OPTIMIZERS["Adam"](one.parameters()), 3)
    assert not _moved(model, _state(twin))


def test_freezings_can_be_nested() -> None:
    model = _model()
    first = freeze(model, ["0"], norms=True)
    second = freeze(model, ["0", "2"], norms=True)
    second.thaw()
    assert [p.requires_grad for p in model.parameters()] == [False] * 4 + [True] * 6
    assert not model.train()[1].training
    first.thaw()
    assert all(p.requires_grad for p in model.parameters())
    assert model[1].training


def test_gradients_accumulate_for_what_learns_alone() -> None:
    model = _model()
    freeze(model, ["0", "6"], norms=True)
    optimizer = OPTIMIZERS["AdamW"](model.parameters())
    before = _state(model)
    for step in range(3):
        _loss(model, step).backward()
    optimizer.step()
    assert not _moved(model, before) & (_OF_LAYERS | _OF_NORM)
    assert "2.weight" in _moved(model, before)


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "RMSprop"])
def test_frozen_layers_stay_under_autocast_and_a_scaler(kind: str) -> None:
    model = _model()
    freeze(model, ["0", "6"], norms=True)
    optimizer = OPTIMIZERS[kind](model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    before = _state(model)
    for step in range(2):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = _loss(model, step)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert not _moved(model, before) & (_OF_LAYERS | _OF_NORM)
    assert "2.weight" in _moved(model, before)


def test_a_layer_may_be_both_frozen_and_held_by_masks() -> None:
    model = _model()
    mask = torch.rand(model[0].weight.shape) < 0.5
    fixed = FixedMasks(model, {"0": mask})
    freezing = freeze(model, ["0"])
    optimizer = OPTIMIZERS["SGD"](model.parameters())
    fixed.attach(optimizer)
    before = _state(model)
    _steps(model, optimizer, 2)
    assert not _moved(model, before) & {"0.weight", "0.bias"}
    freezing.thaw()
    _steps(model, optimizer, 2)
    assert model[0].weight[~mask].count_nonzero() == 0
    assert not torch.equal(model[0].weight, before["0.weight"])


def test_a_layer_that_is_made_sparse_later_stays_frozen() -> None:
    model = _model()
    freezing = freeze(model, ["0"])
    sparsify(model, "unstructured", 0.5, engine="native")
    before = _state(model)
    _steps(model, OPTIMIZERS["AdamW"](model.parameters()), 2)
    assert not _moved(model, before) & {"0.weight", "0.bias"}
    freezing.thaw()
    assert model[0].weight.requires_grad


def test_weights_that_are_computed_are_frozen_in_what_they_are_computed_from() -> None:
    model = _model()
    torch.nn.utils.prune.random_unstructured(model[0], "weight", 0.5)
    torch.nn.utils.parametrizations.weight_norm(model[2])
    freeze(model, ["0", "2"])
    before = _state(model)
    _steps(model, OPTIMIZERS["AdamW"](model.parameters()), 2)
    assert not [name for name in _moved(model, before) if name.startswith(("0.", "2."))]


def test_a_copy_of_a_frozen_model_is_frozen_and_does_not_share_its_norms() -> None:
    model = _model()
    freezing = freeze(model, ["0"], norms=True)
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    freezing.thaw()
    for twin in twins:
        assert not twin.train()[1].training
        assert isinstance(twin[1], nn.BatchNorm2d)
        assert not twin[0].weight.requires_grad
    assert model.train()[1].training


class _Wrapper(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_names_fit_with_and_without_a_wrappers_prefix(wrapped: bool, prefix: str) -> None:
    inner = _model()
    model = _Wrapper(torch.compile(inner)) if wrapped else inner
    assert freeze(model, [f"{prefix}0"], norms=True).layers == ("0",)
    assert not inner[0].weight.requires_grad


def test_canonical_names_find_the_layers_of_any_framework() -> None:
    class Segmenter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.ModuleDict({"visual": small_trunk()})
            self.head = nn.Linear(4, 4)

    model = Segmenter()
    names = ["conv1", "layer1.0.conv2", "module.backbone.visual.layer2.0.downsample.0", "head"]
    assert freeze(model, names).layers == (
        "backbone.visual.conv1",
        "backbone.visual.layer1.0.conv2",
        "backbone.visual.layer2.0.downsample.0",
        "head",
    )


def _tower() -> nn.Module:
    block = nn.ModuleDict({"mlp": nn.ModuleDict({"c_fc": nn.Linear(4, 4)})})
    return nn.ModuleDict({"resblocks": nn.ModuleList([block])})


def test_a_canonical_name_that_two_towers_share_is_refused_and_the_full_name_taken() -> None:
    name = "transformer.resblocks.0.mlp.c_fc"
    model = nn.ModuleDict(
        {"visual": nn.ModuleDict({"transformer": _tower()}), "transformer": _tower()}
    )
    with pytest.raises(ValueError, match=rf"{name} \(may be visual.{name} or {name}\)"):
        freeze(model, [name])
    assert freeze(model, [f"visual.{name}"]).layers == (f"visual.{name}",)


def test_all_names_that_do_not_fit_are_told_and_nothing_is_frozen() -> None:
    model = _model()
    message = (
        r"expected layers of the model, got 1 \(no such layer\), x.y \(no such layer\), "
        r"0.q \(no such layer\)"
    )
    with pytest.raises(ValueError, match=message):
        freeze(model, ["0", "1", "x.y", "0.q"])
    assert all(p.requires_grad for p in model.parameters())


def test_one_string_is_no_list_of_names() -> None:
    with pytest.raises(TypeError, match="expected a selection or several names, got the string"):
        freeze(_model(), "06")


def _selection(**shapes: tuple[int, ...]) -> Selection:
    layers = tuple(
        SelectedLayer(name.lstrip("_"), shape, 2.0, 0.1, True, 0.1, None)
        for name, shape in shapes.items()
    )
    return Selection(layers, "by hand", None, "nowhere")


def test_a_selection_freezes_its_frozen_layers() -> None:
    model = _model()
    learnt = SelectedLayer("2", (4, 8, 1, 1), 4.0, 0.1, False, 0.1, None)
    chosen = _selection(_0=(8, 3, 3, 3))
    selection = Selection((*chosen.layers, learnt), "by hand", None, "nowhere")
    assert freeze(model, selection).layers == ("0",)
    assert model[2].weight.requires_grad


def test_a_selection_of_a_model_of_other_shapes_is_refused() -> None:
    message = r"0 \(\(8, 3, 3, 3\), selected as \(8, 3, 1, 1\)\), 9 \(no such layer\)"
    with pytest.raises(ValueError, match=message):
        freeze(_model(), _selection(_0=(8, 3, 1, 1), _2=(4, 8, 1, 1), _9=(1, 1)))


def test_freezing_nothing_changes_nothing() -> None:
    trunk = small_trunk()
    freezing = freeze(trunk, [], norms=True)
    assert freezing.layers == freezing.norms == ()
    assert all(p.requires_grad for p in trunk.parameters())


def test_every_convolution_of_a_trunk_has_its_norm() -> None:
    trunk = small_trunk()
    freezing = freeze(trunk, convs(trunk), norms=True)
    assert len(freezing.norms) == len(freezing.layers)
    assert not any(p.requires_grad for p in trunk.parameters())


def test_two_processes_train_what_is_not_frozen_as_one(tmp_path: Path) -> None:
    children = [small_runs.process(freeze_parallel.train, rank, tmp_path) for rank in range(2)]
    for child in children:
        child.join()
        assert child.exitcode == 0

    model = freeze_parallel.build()
    before = _state(model)
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
        model: nn.Module = DistributedDataParallel(_model())
        model = nn.Sequential(model, nn.Linear(2, 2)) if inside else model
        with pytest.raises(ValueError, match="got one that is: freeze first, then wrap"):
            freeze(model, ["module.0"])
    finally:
        dist.destroy_process_group()
