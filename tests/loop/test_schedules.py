"""Learning rates against torch's schedulers and values worked out by hand."""

import math
from collections.abc import Callable

import pytest
import torch
from torch.optim import lr_scheduler

from sparse_ovs.loop import Constant, Cosine, MultiStep, Poly, Schedule


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Constant(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0)),
        (Cosine(steps=20), lambda o: lr_scheduler.CosineAnnealingLR(o, 20)),
        (Cosine(steps=20, final=0.1), lambda o: lr_scheduler.CosineAnnealingLR(o, 20, eta_min=0.1)),
        (Poly(steps=20), lambda o: lr_scheduler.PolynomialLR(o, 20, power=0.9)),
        (Poly(steps=20, power=2.0), lambda o: lr_scheduler.PolynomialLR(o, 20, power=2.0)),
        (MultiStep(milestones=(5, 12)), lambda o: lr_scheduler.MultiStepLR(o, [5, 12])),
    ],
)
def test_factors_are_those_of_torchs_schedulers(
    ours: Schedule, theirs: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler]
) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = theirs(optimizer)
    for step in range(20):
        assert ours.factor(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    "schedule",
    [
        Constant(4),
        Cosine(steps=10, warmup=4),
        Poly(steps=10, warmup=4),
        MultiStep(milestones=(7,), warmup=4),
    ],
)
def test_warmup_rises_linearly_to_the_full_rate(schedule: Schedule) -> None:
    assert [schedule.factor(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_cosine_after_warmup_ends_at_its_last_step() -> None:
    schedule = Cosine(steps=14, warmup=4)
    assert schedule.factor(9) == pytest.approx(0.5)
    assert schedule.factor(6) == pytest.approx(0.5 * (1 + math.cos(0.2 * math.pi)))
    assert schedule.factor(14) == 0.0
    assert schedule.factor(100) == 0.0


def test_milestones_count_from_the_first_step() -> None:
    schedule = MultiStep(milestones=(3,), gamma=0.5, warmup=2)
    assert [schedule.factor(step) for step in range(5)] == [0.5, 1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1), "expected warmup >= 0, got -1"),
        (lambda: Cosine(steps=5, warmup=5), r"expected steps > warmup \(5\), got 5"),
        (lambda: Poly(steps=0), r"expected steps > warmup \(0\), got 0"),
        (lambda: MultiStep(milestones=(4, 2)), r"expected rising milestones, got \(4, 2\)"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(
    make: Callable[[], Schedule], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()
