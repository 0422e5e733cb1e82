"""Freezing a trunk, alone or in a host: its prefix comes and goes with what is frozen."""

from pathlib import Path

import torch
from torch import Tensor, nn

from sparse_ovs.profiling import training_cost
from sparse_ovs.spectral import freeze
from support import freeze_parallel, small_runs
from support.small_trunks import (
    STEM,
    TO_BLOCK,
    convs,
    frozen_trunk,
    image,
    report,
    runs_as_plan,
    small_trunk,
)


def test_thawing_gives_the_trunk_back() -> None:
    trunk, freezing = frozen_trunk()
    trunk(image())
    assert str(freezing.prefixes[""].report()) == (
        "frozen from the image on: stem, layer1, layer2.0, up to layer2.1.conv1.weight, "
        "which learns; runs as a plan"
    )
    freezing.thaw()
    assert trunk.prefix is None
    sum(m.square().mean() for m in trunk(image())).backward()
    assert all(p.grad is not None for p in trunk.parameters())


def test_two_freezings_share_a_prefix() -> None:
    trunk, first = frozen_trunk(STEM)
    second = freeze(trunk, convs(trunk, "layer1."), norms=True)
    assert second.prefixes[""] is first.prefixes[""]
    assert runs_as_plan(trunk)
    assert report(trunk).pieces == ("stem", "layer1")
    second.thaw()
    assert report(trunk).pieces == ("stem",)
    first.thaw()
    assert trunk.prefix is None


def test_a_trunk_inside_a_host_has_its_prefix() -> None:
    class Host(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = small_trunk()
            self.head = nn.Conv2d(256, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.backbone(x)[-1])

    host = Host()
    freezing = freeze(host, convs(host.backbone), norms=True)
    host(image()).sum().backward()
    assert freezing.prefixes["backbone"].report().planned
    assert {name for name, p in host.named_parameters() if p.grad is not None} == {
        "head.weight",
        "head.bias",
    }


def test_names_and_state_of_a_frozen_trunk_are_those_of_a_plain_one() -> None:
    trunk, _ = frozen_trunk()
    trunk(image())
    plain = small_trunk()
    assert list(trunk.state_dict()) == list(plain.state_dict())
    assert [n for n, _ in trunk.named_modules()] == [n for n, _ in plain.named_modules()]


def test_the_training_cost_of_a_prefix_is_its_forward() -> None:
    trunk, _ = frozen_trunk()
    trunk(image())
    costs = {one.name: one.ours() for one in training_cost(trunk, image()).layers}
    assert list(costs) == convs(trunk)
    for name, cost in costs.items():
        inside = name.startswith(TO_BLOCK)
        assert cost.forward > 0
        assert (cost.input_gradient > 0) == (not inside and name not in {"layer2.1.conv1"}), name
        assert (cost.weight_gradient > 0) == (not inside), name


def test_two_processes_run_the_prefix_as_a_plan(tmp_path: Path) -> None:
    children = [small_runs.process(freeze_parallel.train_trunk, r, tmp_path) for r in range(2)]
    for child in children:
        child.join()
        assert child.exitcode == 0
    first, second = (torch.load(tmp_path / f"trunk{rank}") for rank in range(2))
    before = small_trunk().state_dict()
    for name, value in first.items():
        assert torch.equal(value, second[name]) or "running" in name
        assert torch.equal(value, before[name]) == name.startswith((*TO_BLOCK, "bn")), name
