"""The frozen beginning of a trunk runs as a plan, and nothing else can be told from it."""

import copy
import pickle

import pytest
import torch
from torch import Tensor

import sparse_ovs
from sparse_ovs import _native
from sparse_ovs.backbones.frozen_prefix import PrefixReport
from sparse_ovs.backbones.resnet import ResNetTrunk
from sparse_ovs.nn import sparsify
from sparse_ovs.pruning.fixed import FixedMasks
from sparse_ovs.spectral import freeze
from support.oracles import random_sparse_weight
from support.small_trunks import (
    STEM,
    TO_BLOCK,
    convs,
    frozen_trunk,
    image,
    report,
    runs_as_plan,
    small_trunk,
    without_prefix,
)


def _assert_close(ours: Tensor, theirs: Tensor, limit: float) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).norm().item() <= limit * theirs.norm().item()


def _assert_same_maps(ours: list[Tensor], theirs: list[Tensor]) -> None:
    """Inside the prefix to rounding; behind it, BatchNorm over few pixels has made that larger."""
    for a, b in zip(ours, theirs, strict=True):
        _assert_close(a, b, 1e-5 if a.grad_fn is None else 1e-3)


@pytest.mark.parametrize("out_indices", [(1, 2, 3, 4), (0, 3)])
@pytest.mark.parametrize(
    ("before", "pieces", "ends_at"),
    [
        (STEM, ("stem",), "layer1.0.conv1.weight, which learns"),
        ((*STEM, "layer1.0."), ("stem", "layer1.0"), "layer1.1.conv1.weight, which learns"),
        ((*STEM, "layer1."), ("stem", "layer1"), "layer2.0.conv1.weight, which learns"),
        (TO_BLOCK, ("stem", "layer1", "layer2.0"), "layer2.1.conv1.weight, which learns"),
        (
            (*TO_BLOCK, "layer2.1.conv1", "layer3."),
            ("stem", "layer1", "layer2.0"),
            "layer2.1.conv2.weight, which learns",
        ),
    ],
)
def test_maps_and_gradients_are_those_without_a_prefix(
    before: tuple[str, ...], pieces: tuple[str, ...], ends_at: str, out_indices: tuple[int, ...]
) -> None:
    trunk, _ = frozen_trunk(before, out_indices)
    twin = without_prefix(trunk)
    maps, expected = trunk(image()), twin(image())
    assert report(trunk) == PrefixReport(pieces, ends_at, True, "")
    _assert_same_maps(maps, expected)
    for result in (maps, expected):
        sum(m.square().mean() for m in result).backward()
    for p, q in zip(trunk.parameters(), twin.parameters(), strict=True):
        assert p.requires_grad == q.requires_grad
        if p.requires_grad and q.grad is not None:
            # A ReLU whose input is 0 to rounding may be open in one and closed in the other, which
            # changes a gradient by per cents on some CPUs; a wrong one is wrong by its own size.
            _assert_close(p.grad, q.grad, 0.1)
        else:
            assert p.grad is None


def test_no_graph_is_built_inside_the_prefix() -> None:
    trunk, _ = frozen_trunk()
    maps = trunk(image())
    assert [m.grad_fn is None for m in maps] == [True, False, False, False]


def test_a_trunk_that_is_frozen_whole_needs_no_graph() -> None:
    trunk, _ = frozen_trunk(("",))
    maps = trunk(image())
    assert all(m.grad_fn is None for m in maps)
    assert report(trunk) == PrefixReport(
        ("stem", "layer1", "layer2", "layer3", "layer4"), "", True, ""
    )


def test_maps_beyond_the_last_one_wanted_are_no_part_of_the_prefix() -> None:
    trunk, _ = frozen_trunk(("",), (0, 2))
    maps, expected = trunk(image()), without_prefix(trunk)(image())
    assert report(trunk).pieces == ("stem", "layer1", "layer2")
    _assert_same_maps(maps, expected)


def test_norms_that_learn_end_the_prefix() -> None:
    trunk = small_trunk()
    freeze(trunk, convs(trunk, *STEM))
    trunk(image())
    assert report(trunk) == PrefixReport(
        (), "bn1.weight, which learns", False, "bn1.weight, which learns"
    )


def test_norms_in_training_mode_end_the_prefix() -> None:
    trunk = small_trunk()
    trunk.requires_grad_(False)
    trunk.layer2[1].requires_grad_(True)
    freeze(trunk, convs(trunk, *STEM), norms=True)
    assert not runs_as_plan(trunk) or report(trunk).pieces == ("stem",)
    assert report(trunk).ends_at == "layer1.0.bn1, which is in training mode"
    trunk.eval()
    assert report(trunk).pieces == ("stem", "layer1", "layer2.0")


def test_the_prefix_follows_what_is_frozen_and_thawed_by_hand() -> None:
    trunk, _ = frozen_trunk()
    assert runs_as_plan(trunk)
    trunk.layer1[1].requires_grad_(True)
    assert runs_as_plan(trunk)
    assert report(trunk).pieces == ("stem", "layer1.0")
    trunk.conv1.requires_grad_(True)
    assert not runs_as_plan(trunk)
    trunk(image())[0].sum().backward()
    assert trunk.conv1.weight.grad is not None


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "RMSprop"])
def test_training_steps_are_those_without_a_prefix(kind: str) -> None:
    make = {
        "SGD": lambda p: torch.optim.SGD(p, 1e-3, momentum=0.9, weight_decay=0.1),
        "AdamW": lambda p: torch.optim.AdamW(p, 1e-4, weight_decay=0.1),
        "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-5, momentum=0.9, weight_decay=0.1),
    }[kind]
    trunk, _ = frozen_trunk()
    twin = without_prefix(trunk)
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    losses = []
    for one in (trunk, twin):
        optimizer = make(one.parameters())
        losses.append([])
        for step in range(4):
            optimizer.zero_grad()
            loss = sum(m.square().mean() for m in one(image(seed=step)))
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][0] != losses[0][-1]
    assert report(trunk).planned
    now = trunk.state_dict()
    inside = [name for name in now if name.startswith((*TO_BLOCK, "bn"))]
    assert inside
    assert all(torch.equal(now[name], before[name]) for name in inside)


@pytest.mark.parametrize("fold", [False, "eval"])
def test_a_sparse_trunks_prefix_runs_as_a_plan(fold: bool | str) -> None:
    trunk = small_trunk().eval()
    sparsify(trunk, "unstructured", 0.3, engine="native", fold_bn=fold)
    freezing = freeze(trunk, convs(trunk, *TO_BLOCK), norms=True)
    assert len(freezing.norms) == len(freezing.layers) == len(convs(trunk, *TO_BLOCK))
    trunk.train()
    twin = without_prefix(trunk)
    maps, expected = trunk(image()), twin(image())
    assert report(trunk).planned
    _assert_same_maps(maps, expected)
    assert maps[0].grad_fn is None


def test_weights_that_are_loaded_are_taken_up() -> None:
    trunk, _ = frozen_trunk()
    trunk(image())
    other = small_trunk()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.9)
    trunk.load_state_dict(other.state_dict())
    maps, expected = trunk(image()), without_prefix(trunk)(image())
    _assert_close(maps[0], expected[0], 1e-5)
    assert report(trunk).planned


@pytest.mark.parametrize("tensor", ["layer1.0.conv2.weight", "bn2.running_var", "bn3.bias"])
def test_a_write_in_place_is_taken_up(tensor: str) -> None:
    trunk, _ = frozen_trunk()
    before = trunk(image())[0]
    with torch.no_grad():
        trunk.state_dict()[tensor].add_(1)
    after, expected = trunk(image())[0], without_prefix(trunk)(image())[0]
    assert not torch.allclose(before, after, rtol=1e-3)
    _assert_close(after, expected, 1e-5)


def test_writes_that_change_nothing_keep_the_plan() -> None:
    trunk = small_trunk()
    for index, name in enumerate(convs(trunk, "layer")):
        conv = trunk.get_submodule(name)
        conv.weight.data = random_sparse_weight(conv.weight.shape, 0.3, seed=index)
    masks = {name: trunk.get_submodule(name).weight != 0 for name in convs(trunk, "layer")}
    freeze(trunk, convs(trunk, *TO_BLOCK), norms=True)
    optimizer = torch.optim.SGD(trunk.parameters(), 0.01, momentum=0.9)
    FixedMasks(trunk, masks).attach(optimizer)
    plans = []
    for step in range(3):
        sum(m.square().mean() for m in trunk(image(seed=step))).backward()
        optimizer.step()
        plans.append(trunk.prefix._plan)
    assert all(plan is plans[0] for plan in plans)
    assert report(trunk).planned


def test_a_move_to_another_dtype_and_back_makes_a_new_plan() -> None:
    trunk, _ = frozen_trunk()
    trunk(image())
    trunk.bfloat16().float()  # rounds the weights, and memory may be where it was
    assert trunk.prefix._plan is None
    maps, expected = trunk(image()), without_prefix(trunk)(image())
    _assert_close(maps[0], expected[0], 1e-5)


@pytest.mark.parametrize(("size", "batch"), [(96, 1), (32, 3), (65, 2)])
def test_any_size_of_image_runs_in_the_plan(size: int, batch: int) -> None:
    trunk, _ = frozen_trunk()
    assert runs_as_plan(trunk)
    x = image(size=size, batch=batch)
    maps, expected = trunk(x), without_prefix(trunk)(x)
    assert report(trunk).planned
    _assert_close(maps[0], expected[0], 1e-5)


def test_without_gradients_the_trunk_runs_as_ever() -> None:
    trunk, _ = frozen_trunk()
    with torch.no_grad():
        trunk(image())
    assert report(trunk).reason == "no forward with gradients yet"


def _falls_back(trunk: ResNetTrunk, x: Tensor, reason: str) -> None:
    maps, expected = trunk(x), without_prefix(trunk)(x)
    seen = report(trunk)
    assert not seen.planned
    assert reason in seen.reason
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))
    assert maps[0].grad_fn is None or x.requires_grad


def test_another_dtype_runs_in_torch() -> None:
    trunk, _ = frozen_trunk()
    _falls_back(trunk.double(), image().double(), "float32 images on the CPU, not torch.float64")


def test_autocast_runs_in_torch() -> None:
    trunk, _ = frozen_trunk()
    with torch.autocast("cpu", torch.bfloat16):
        _falls_back(trunk, image(), "plans have no autocast")


def test_an_image_that_needs_a_gradient_gets_one() -> None:
    trunk, _ = frozen_trunk()
    x = image().requires_grad_()
    _falls_back(trunk, x, "the image needs a gradient")
    trunk(x)[0].sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("module", ["layer1.0.conv2", "layer2", "act3"])
def test_hooks_inside_are_called(module: str) -> None:
    trunk, _ = frozen_trunk()
    assert runs_as_plan(trunk)
    seen: list[str] = []
    handle = trunk.get_submodule(module).register_forward_hook(lambda *_: seen.append(module))
    _falls_back(trunk, image(), f"{module} has hooks, which a plan would not call")
    assert seen
    handle.remove()
    assert runs_as_plan(trunk)


def test_hooks_behind_the_prefix_do_not_matter() -> None:
    trunk, _ = frozen_trunk()
    seen: list[int] = []
    trunk.layer3.register_forward_hook(lambda *_: seen.append(3))
    assert runs_as_plan(trunk)
    assert seen == [3]


def test_without_the_native_library_all_runs_in_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk, _ = frozen_trunk()
    monkeypatch.setattr(_native, "unavailable_reason", lambda: "no library here")
    _falls_back(trunk, image(), "no library here")


def test_a_plan_that_cannot_be_made_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def fail(*_: object) -> None:
        tried.append(1)
        raise RuntimeError("no way")

    trunk, _ = frozen_trunk()
    monkeypatch.setattr("sparse_ovs.backbones.frozen_prefix.CompiledEncoder", fail)
    for _ in range(2):
        _falls_back(trunk, image(), "no plan could be made: no way")
    assert len(tried) == 1


def test_torch_compile_traces_a_frozen_trunk_in_one_graph() -> None:
    trunk, _ = frozen_trunk()
    maps = torch.compile(trunk, backend="eager", fullgraph=True)(image())
    _assert_same_maps(maps, without_prefix(trunk)(image()))
    assert maps[0].grad_fn is None


def test_a_frozen_trunk_compiles_as_a_whole() -> None:
    trunk, _ = frozen_trunk()
    trunk(image())
    trunk.eval()
    with torch.no_grad():
        expected = trunk(image())
    for ours, theirs in zip(sparse_ovs.compile(trunk, image())(image()), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_a_prefix_of_its_own(copied: object) -> None:
    trunk, _ = frozen_trunk()
    trunk(image())
    twin = copied(trunk)
    with torch.no_grad():
        twin.layer1[0].conv1.weight.mul_(2)
    ours, theirs = trunk(image())[0], twin(image())[0]
    assert report(twin).planned
    assert not torch.allclose(ours, theirs)
    _assert_close(theirs, without_prefix(twin)(image())[0], 1e-5)
