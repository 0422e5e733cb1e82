"""What a step of the loop does, against loops written out by hand."""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparse_ovs.loop import (
    Checkpoints,
    Constant,
    Cosine,
    Ema,
    GeneratedBatches,
    Loop,
    LoopSettings,
    MultiStep,
)


def _batch(number: int) -> Tensor:
    return torch.randn(8, 3, generator=torch.Generator().manual_seed(number))


class Run:
    """A small model with what a loop needs; every one begins the same."""

    def __init__(self, **changes: Any) -> None:
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=changes.pop("lr", 0.5), momentum=0.9
        )
        settings = {
            key: changes.pop(key) for key in list(changes) if key in LoopSettings.__annotations__
        }
        arguments = {
            "model": self.model,
            "optimizer": self.optimizer,
            "losses": self.losses,
            "batches": GeneratedBatches(_batch, 8),
            "settings": LoopSettings(**{"steps": 6, **settings}),
        }
        if decay := changes.pop("decay", None):
            self.ema = changes["ema"] = Ema(self.model, decay)
        self.loop = Loop(**{**arguments, **changes})

    def losses(self, batch: Tensor, number: int) -> dict[str, Tensor]:
        output = self.model(batch)
        return {
            "loss": (output - batch.sum(1, keepdim=True)).square().mean(),
            "mean": output.mean(),
        }

    def weights(self) -> Tensor:
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


def _rows(folder: Path) -> list[dict[str, float]]:
    with (folder / "log.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def test_steps_are_those_of_a_loop_written_out(tmp_path: Path) -> None:
    schedule = Cosine(steps=6, warmup=2)
    made = Run(accumulate=2, clip_norm=0.1, schedule=schedule, decay=0.5, folder=tmp_path)
    made.loop.run()

    other = Run()
    model, optimizer = other.model, other.optimizer
    average = [p.detach().clone() for p in model.parameters()]
    for step in range(6):
        optimizer.param_groups[0]["lr"] = 0.5 * schedule.factor(step)
        optimizer.zero_grad()
        for number in (2 * step, 2 * step + 1):
            (other.losses(_batch(number), number)["loss"] / 2).backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        with torch.no_grad():
            for a, p in zip(average, model.parameters(), strict=True):
                a.lerp_(p, 0.5)
    assert torch.equal(made.weights(), other.weights())
    for ours, expected in zip(made.ema.model.parameters(), average, strict=True):
        assert torch.equal(ours, expected)
    assert _rows(tmp_path)[-1]["grad_norm"] == pytest.approx(norm.item())


def test_accumulated_batches_act_as_one_large_batch() -> None:
    apart = Run(accumulate=4, steps=3)
    apart.loop.run()
    together = Run(
        batches=GeneratedBatches(
            lambda number: torch.cat([_batch(4 * number + i) for i in range(4)]), 32
        ),
        steps=3,
    )
    together.loop.run()
    torch.testing.assert_close(apart.weights(), together.weights(), rtol=1e-5, atol=1e-6)


def test_rows_hold_the_rate_and_the_mean_over_the_batches_of_the_step(tmp_path: Path) -> None:
    made = Run(
        accumulate=2,
        steps=5,
        log_every=2,
        schedule=MultiStep(milestones=(3,)),
        losses=lambda batch, number: made.losses(batch, number) | {"number": number},
        folder=tmp_path,
    )
    made.loop.run()
    rows = _rows(tmp_path)
    assert list(rows[0]) == ["step", "lr", "loss", "mean", "number"]
    assert [row["step"] for row in rows] == [2, 4, 5]
    assert [row["lr"] for row in rows] == [0.5, 0.05, 0.05]
    assert [row["number"] for row in rows] == [2.5, 6.5, 8.5]


def test_hooks_see_the_stepped_model_and_their_changes_are_in_the_checkpoint(
    tmp_path: Path,
) -> None:
    before = []

    def hook(step: int) -> None:
        before.append((step, made.weights()))
        with torch.no_grad():
            made.model[2].bias.fill_(step)

    made = Run(steps=3, checkpoint_every=2, folder=tmp_path, hooks=[hook])
    start = made.weights()
    made.loop.run()
    assert [step for step, _ in before] == [1, 2, 3]
    assert not torch.equal(before[0][1], start)
    again = Run(steps=3, folder=tmp_path)
    again.loop.run(resume=True)
    assert again.model[2].bias.item() == 3


def test_checkpoints_come_every_so_often_and_after_the_last_step(tmp_path: Path) -> None:
    Run(steps=7, checkpoint_every=3, keep_checkpoints=9, folder=tmp_path).loop.run()
    assert Checkpoints(tmp_path / "checkpoints", 1).steps() == [3, 6, 7]


def test_reports_come_with_each_row() -> None:
    reports: list[Any] = []
    Run(steps=5, log_every=2, report=reports.append).loop.run()
    assert [(report.step, report.steps) for report in reports] == [(2, 5), (4, 5), (5, 5)]
    assert set(reports[0].metrics) == {"lr", "loss", "mean"}


def test_without_a_folder_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = Run(checkpoint_every=1)
    made.loop.run()
    assert made.loop.step == 6
    assert list(tmp_path.iterdir()) == []


def test_several_modules_are_saved_and_restored(tmp_path: Path) -> None:
    def make(steps: int) -> tuple[nn.Linear, nn.Linear, Loop]:
        one, two = nn.Linear(3, 2), nn.Linear(2, 1)
        optimizer = torch.optim.Adam([*one.parameters(), *two.parameters()])
        loop = Loop(
            {"one": one, "two": two},
            optimizer,
            lambda batch, _: {"loss": two(one(batch)).square().mean()},
            GeneratedBatches(_batch, 8),
            LoopSettings(steps=steps),
            folder=tmp_path,
        )
        return one, two, loop

    one, two, loop = make(2)
    loop.run()
    again, other, loop = make(2)
    loop.run(resume=True)
    assert torch.equal(one.weight, again.weight)
    assert torch.equal(two.weight, other.weight)


def test_the_seed_decides_what_the_losses_draw() -> None:
    def drawn(seed: int) -> Tensor:
        made = Run(
            seed=seed,
            losses=lambda batch, number: made.losses(batch + torch.randn(8, 3), number),
        )
        torch.rand(seed + 5)  # what came before does not count
        made.loop.run()
        return made.weights()

    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, None])
def test_losses_run_under_autocast_as_asked(dtype: torch.dtype | None) -> None:
    seen = set()

    def losses(batch: Tensor, number: int) -> Mapping[str, Tensor]:
        seen.add(made.model(batch).dtype)
        return made.losses(batch, number)

    made = Run(losses=losses, autocast=dtype)
    made.loop.run()
    assert seen == {dtype or torch.float32}
    assert made.weights().dtype == torch.float32


def test_a_step_of_overflowing_gradients_is_skipped_and_the_scale_outlives_a_resume(
    tmp_path: Path,
) -> None:
    def losses(batch: Tensor, number: int) -> Mapping[str, Tensor]:
        weights.append(made.weights())
        # Scaled by 65536 its gradients overflow, in float32 too.
        factor = 1e37 if number == 1 else 1e-3
        return {"loss": factor * made.losses(batch, number)["loss"]}

    weights: list[Tensor] = []
    made = Run(steps=4, losses=losses, autocast=torch.float16, lr=0.01, folder=tmp_path)
    made.loop.run()
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[2], weights[3])
    again = Run(steps=4, losses=losses, autocast=torch.float16, lr=0.01, folder=tmp_path)
    again.loop.run(resume=True)
    assert again.loop._scaler.get_scale() == 65536 / 2


def test_clipping_under_a_scaler_is_of_the_unscaled_gradients(tmp_path: Path) -> None:
    def run(name: str, autocast: torch.dtype | None) -> Tensor:
        def losses(batch: Tensor, number: int) -> Mapping[str, Tensor]:
            return {"loss": 1e-3 * made.losses(batch, number)["loss"]}  # too small to overflow

        made = Run(
            losses=losses, lr=10.0, clip_norm=1e-4, autocast=autocast, folder=tmp_path / name
        )
        before = made.weights()
        made.loop.run()
        return made.weights() - before

    plain, scaled = run("plain", None), run("scaled", torch.float16)
    torch.testing.assert_close(scaled, plain, rtol=0.05, atol=1e-4)
    for one, other in zip(_rows(tmp_path / "plain"), _rows(tmp_path / "scaled"), strict=True):
        assert one["grad_norm"] > 1e-4
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-2)


def test_rates_held_as_tensors_are_set_in_place() -> None:
    plain, held = Run(schedule=Cosine(steps=6)), Run(schedule=Cosine(steps=6))
    rate = torch.tensor(0.5)
    optimizer = torch.optim.SGD(held.model.parameters(), lr=rate, momentum=0.9)
    loop = Loop(
        held.model,
        optimizer,
        held.losses,
        GeneratedBatches(_batch, 8),
        LoopSettings(steps=6, schedule=Cosine(steps=6)),
    )
    plain.loop.run()
    loop.run()
    assert optimizer.param_groups[0]["lr"] is rate
    torch.testing.assert_close(held.weights(), plain.weights())


def test_a_used_folder_is_refused_unless_the_run_is_to_be_resumed(tmp_path: Path) -> None:
    Run(folder=tmp_path).loop.run()
    log = (tmp_path / "log.csv").read_bytes()
    with pytest.raises(FileExistsError, match="expected a folder without checkpoints, or resume"):
        Run(folder=tmp_path).loop.run()
    assert (tmp_path / "log.csv").read_bytes() == log


def test_a_finished_run_is_restored_and_goes_on_when_more_steps_are_asked(tmp_path: Path) -> None:
    whole = Run(steps=9, decay=0.9, folder=tmp_path / "whole")
    whole.loop.run()
    first = Run(steps=6, decay=0.9, folder=tmp_path / "parts")
    first.loop.run()
    same = Run(steps=6, decay=0.9, folder=tmp_path / "parts")
    same.loop.run(resume=True)
    assert same.loop.step == 6
    assert torch.equal(same.weights(), first.weights())
    more = Run(steps=9, decay=0.9, folder=tmp_path / "parts")
    more.loop.run(resume=True)
    assert torch.equal(more.weights(), whole.weights())
    for ours, theirs in zip(more.ema.model.parameters(), whole.ema.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert (tmp_path / "parts/log.csv").read_bytes() == (tmp_path / "whole/log.csv").read_bytes()


class _Counter:
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, "loop.seed: 0, not 1"),
        ({"accumulate": 2}, "loop.accumulate: 1, not 2"),
        ({"clip_norm": 0.1}, "loop.clip_norm: None, not 0.1"),
        ({"schedule": Constant(warmup=3)}, "loop.schedule.warmup: 0, not 3"),
        ({"autocast": torch.bfloat16}, "loop.autocast: 'None', not 'torch.bfloat16'"),
        ({"lr": 0.25}, r"optimizer.groups\[0\].lr: 0.5, not 0.25"),
        ({"batches": GeneratedBatches(_batch, 9)}, "batches.batch_size: 8, not 9"),
        ({"decay": 0.9}, "ema: None, not 0.9"),
        ({"config": {"loss": "cosine"}}, "config.loss: 'mse', not 'cosine'"),
        ({"state": {"masks": _Counter()}}, r"state: \[\], not \['masks'\]"),
    ],
)
def test_another_configuration_is_refused_and_changes_nothing(
    tmp_path: Path, changes: dict[str, Any], difference: str
) -> None:
    config = {"config": {"loss": "mse"}}
    Run(folder=tmp_path, **config).loop.run()
    other = Run(folder=tmp_path, **{**config, **changes})
    before = other.weights()
    with pytest.raises(ValueError, match=f"expected the configuration of .*: {difference}$"):
        other.loop.run(resume=True)
    assert torch.equal(other.weights(), before)


def test_what_does_not_decide_the_numbers_may_change(tmp_path: Path) -> None:
    Run(folder=tmp_path).loop.run()
    changed = Run(
        folder=tmp_path, steps=8, checkpoint_every=1, keep_checkpoints=1, log_every=3, lr=0.5
    )
    changed.loop.run(resume=True)
    assert changed.loop.step == 8


def test_a_model_of_other_shapes_is_refused(tmp_path: Path) -> None:
    Run(folder=tmp_path).loop.run()
    other = Run(folder=tmp_path)
    other.model[0].weight = nn.Parameter(torch.zeros(4, 5))
    with pytest.raises(RuntimeError, match=r"size mismatch for 0\.weight"):
        other.loop.run(resume=True)


def test_losses_without_a_loss_are_refused() -> None:
    made = Run(losses=lambda batch, number: {"cosine": batch.sum()})
    with pytest.raises(KeyError, match=r"expected a 'loss' among the losses, got \['cosine'\]"):
        made.loop.run()


def test_a_configuration_that_is_not_json_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="expected a JSON-able configuration, got "):
        Run(config={"model": object()})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "expected steps >= 1, got 0"),
        ({"accumulate": 0}, "expected accumulate >= 1, got 0"),
        ({"checkpoint_every": 0}, "expected checkpoint_every >= 1, got 0"),
        ({"keep_checkpoints": 0}, "expected keep_checkpoints >= 1, got 0"),
        ({"log_every": -1}, "expected log_every >= 1, got -1"),
        ({"clip_norm": 0.0}, "expected clip_norm > 0 or None, got 0.0"),
        ({"autocast": torch.float32}, "expected autocast float16, bfloat16 or None, got "),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LoopSettings(**{"steps": 1, **settings})


def test_rows_go_to_tensorboard_too_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scalars: list[tuple[str, int]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            scalars.append((folder, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            scalars.append((name, step))

        def flush(self) -> None:
            pass

        close = flush

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    Run(steps=1, folder=tmp_path, tensorboard=True).loop.run()
    folder = str(tmp_path / "tensorboard")
    assert scalars == [(folder, 1), ("lr", 1), ("loss", 1), ("mean", 1)]
    scalars.clear()
    Run(steps=2, folder=tmp_path, tensorboard=True).loop.run(resume=True)
    assert scalars == [(folder, 2), ("lr", 2), ("loss", 2), ("mean", 2)]
