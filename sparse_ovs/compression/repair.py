"""Repair: what is kept learns the dense encoder's maps, without labels, while that helps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from sparse_ovs.backbones import Backbone
from sparse_ovs.compression.images import Images
from sparse_ovs.engine import Quantization
from sparse_ovs.loop import DatasetBatches, Loop, LoopSettings
from sparse_ovs.nn import densify, sparsify
from sparse_ovs.pruning.distill import DistillationLoss, LabelFreeDistillation
from sparse_ovs.pruning.fixed import FixedMasks
from sparse_ovs.pruning.learn_rounded import maps_distillation
from sparse_ovs.quantization.fake import FakeQuantised

_BATCH = 16
_PATIENCE = 4  # looks at the held-out images without a gain
_BETWEEN = 8  # steps from one look to the next


@dataclass(frozen=True)
class Repaired:
    """How repair went.

    Attributes:
        steps: that were kept.
        before, after: loss on the images held out.
        timed_out: it ended because the time was up; else because nothing was gained any more.
    """

    steps: int
    before: float
    after: float
    timed_out: bool

    def numbers(self) -> Tensor:
        """For files."""
        values = [self.steps, self.before, self.after, self.timed_out]
        return torch.tensor(values, dtype=torch.float64)

    @classmethod
    def of(cls, numbers: Tensor) -> Repaired:
        """Inverse of `numbers`."""
        steps, before, after, timed_out = numbers.tolist()
        return cls(int(steps), before, after, bool(timed_out))


class _Enough(Exception):
    """Ends the loop."""


def repair(
    dense: nn.Module,
    module: nn.Module,
    masks: Mapping[str, Tensor],
    pattern: str,
    images: Images,
    minutes: float,
    lr: float,
    seed: int,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    rounds: Quantization | None = None,
) -> Repaired:
    """Trains a pruned module under its masks by sparse kernels, in place; BatchNorm's statistics
    stay.

    Args:
        dense: the teacher.
        masks: bool by the module's own names.
        pattern: of the masks.
        minutes: of steps, at most.
        on_step: called with steps done and the held-out loss at each look.
        rounds: of the pruned module: it learns with weights and maps rounded as int8 will.

    Returns:
        Weights are those of the least held-out loss, also where that is the start.
    """
    learning = {name for name, p in module.named_parameters() if p.requires_grad}
    module.eval().requires_grad_(
        True
    )  # and no BatchNorm in train mode: so few images would ruin it
    if rounds is None:
        sparsify(module, pattern, None, masks=masks)
    loss = _loss(dense, rounds is not None)
    student = _student(module, masks, rounds)
    until = float("inf")
    held_out = list(images.held_out.split(_BATCH))
    best, kept, steps = float("inf"), {}, 0
    misses, timed_out = 0, True

    def look(step: int) -> None:
        nonlocal best, kept, steps, misses, timed_out
        if step % _BETWEEN == 0:
            now = _held_out_loss(loss, student, held_out)
            on_step(step, now)
            if now < best:
                best, steps, misses = now, step, 0
                kept = {n: v.detach().clone() for n, v in module.state_dict().items()}
            else:
                misses += 1
            if misses == _PATIENCE:
                timed_out = False
                raise _Enough
        if monotonic() > until:
            raise _Enough

    look(0)
    before = best
    dataset = TensorDataset(images.calibration)
    size = min(_BATCH, len(dataset))
    with torch.no_grad():
        student(images.calibration[:size])  # what it makes at its first call is no step's time
    until = monotonic() + 60 * minutes
    fixed = FixedMasks(module, masks)
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr, weight_decay=0.0)
    fixed.attach(optimizer)
    batches = DatasetBatches(dataset, size, seed)
    loop = Loop(
        module,
        optimizer,
        lambda batch, _: loss(student, batch[0]),
        batches,
        LoopSettings(steps=1_000_000, seed=seed, clip_norm=1.0),
        hooks=[look],
    )
    try:
        loop.run()
    except _Enough:
        pass
    finally:
        fixed.remove()
        densify(module)
        module.zero_grad(set_to_none=True)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in learning)
    module.load_state_dict(kept)
    module.eval()
    return Repaired(steps, before, best, timed_out)


class _Outputs(nn.Module):
    """A module's outputs as a list."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> list[Tensor]:
        leaves: list[Any] = pytree.tree_leaves(self.module(x))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _student(
    module: nn.Module, masks: Mapping[str, Tensor], rounds: Quantization | None
) -> nn.Module:
    if rounds is not None:
        return FakeQuantised(module, rounds, masks)
    return module if isinstance(module, Backbone) else _Outputs(module)


def _loss(dense: nn.Module, maps_alone: bool) -> DistillationLoss:
    if isinstance(dense, Backbone):
        return maps_distillation(dense) if maps_alone else LabelFreeDistillation(dense)
    return LabelFreeDistillation(_Outputs(copy.deepcopy(dense)), embedding_weight=0.0)


@torch.no_grad()
def _held_out_loss(loss: DistillationLoss, student: nn.Module, batches: list[Tensor]) -> float:
    parts = [float(loss(student, batch)["loss"]) * len(batch) for batch in batches]
    return sum(parts) / sum(map(len, batches))
