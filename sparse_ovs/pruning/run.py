"""One pruning run: rounds of training and pruning, resumable to the bit."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.loop import Batches, Loop, LoopSettings, Report
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.pruning.distill import DistillationLoss
from sparse_ovs.pruning.fixed import FixedMasks
from sparse_ovs.pruning.goals import Goal
from sparse_ovs.pruning.rounds import PruningRounds, RoundSettings


@dataclass(frozen=True)
class TrainSettings:
    """Training before each round: AdamW at a constant rate, as in the paper.

    Attributes:
        iters_per_round: steps before each round.
        lr: learning rate.
        weight_decay: of weights; none on BatchNorms and biases.
        clip_norm: largest 2-norm of all gradients together.
        seed: of everything random.
        checkpoint_every: steps between checkpoints.
    """

    iters_per_round: int
    lr: float = 1e-4
    weight_decay: float = 0.05
    clip_norm: float | None = 1.0
    seed: int = 0
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        if self.iters_per_round < 1:
            raise ValueError(f"expected iters_per_round >= 1, got {self.iters_per_round}")
        if not self.lr > 0:
            raise ValueError(f"expected lr > 0, got {self.lr}")

    def loop(self, rounds: int) -> LoopSettings:
        """Of a run of so many rounds."""
        return LoopSettings(
            steps=rounds * self.iters_per_round,
            seed=self.seed,
            clip_norm=self.clip_norm,
            checkpoint_every=self.checkpoint_every,
        )


def prune(
    model: nn.Module,
    layers: Sequence[str],
    pattern: str,
    goal: Goal,
    rounds: RoundSettings,
    on_round: Callable[[int, int, float], None] = lambda done, rounds, density: None,
) -> dict[str, Tensor]:
    """Prunes in rounds without training between them; the weights outside the masks become zero.

    Args:
        model: dense; changed in place.
        layers: module names, such as those of `default_scope`.
        pattern: see `sparse_ovs.make_mask`.
        goal: where to end.
        rounds: in which rounds.
        on_round: called after each with rounds done, all rounds and the density reached.

    Returns:
        bool masks by mask name.

    Raises:
        ValueError: an argument out of its range.
    """
    weights = named_weights(model, layers)
    plan = PruningRounds(weights, pattern, goal, rounds)
    masks: dict[str, Tensor] | None = None
    while plan.done < len(plan):
        masks = plan.next_masks(weights, masks)
        on_round(plan.done, len(plan), plan.density)
    assert masks is not None
    FixedMasks(model, masks).remove()
    return masks


def prune_and_train(
    model: nn.Module,
    layers: Sequence[str],
    pattern: str,
    goal: Goal,
    rounds: RoundSettings,
    batches: Batches,
    loss: DistillationLoss,
    training: TrainSettings,
    *,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    report: Callable[[Report], None] | None = None,
) -> dict[str, Tensor]:
    """Iterative pruning: before each round the model is trained under the masks so far, as in
    METHOD "train t iterations, prune" (Han et al. 2015); weights go on, nothing is rewound.

    The model is in train mode meanwhile, so BatchNorm statistics follow, and in eval mode in the
    end. Nothing is trained after the last round.

    Args:
        model: dense; pruned and trained in place.
        layers, pattern, goal, rounds: see `prune`.
        batches: of images (N, 3, H, W), prepared as for the model.
        loss: (model, images) -> scalars; "loss" is minimised.
        training: how.
        folder: for log and checkpoints; None writes nothing.
        resume: go on from the newest checkpoint in the folder.
        report: called with each step; its metrics have the density.

    Returns:
        bool masks by mask name; the same, and the same weights, however often the run was killed,
        unless the goal is a time, which is measured anew.

    Raises:
        FileExistsError: the folder holds checkpoints and resume is False.
        FileFormatError: all checkpoints are damaged.
        PlaceInUse: another run works in the folder.
        ValueError: an argument out of its range, or a checkpoint of another configuration.
    """
    weights = named_weights(model, layers)
    plan = PruningRounds(weights, pattern, goal, rounds)
    everything = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    fixed = FixedMasks(model, everything)
    optimizer = torch.optim.AdamW(_groups(model, training.weight_decay), lr=training.lr)
    fixed.attach(optimizer)

    def losses(images: Any, _: int) -> dict[str, Tensor | float]:
        return {**loss(model, images), "density": plan.density}

    def prune_when_due(step: int) -> None:
        if step % training.iters_per_round == 0:
            fixed.update(plan.next_masks(weights, fixed.masks))

    config = {
        "pattern": pattern,
        "layers": list(layers),
        "goal": goal.describe(),
        "rounds": str(rounds),
        "iters_per_round": training.iters_per_round,
    }
    modes = {module: module.training for module in model.modules()}
    model.train()
    try:
        Loop(
            model,
            optimizer,
            losses,
            batches,
            training.loop(len(plan)),
            folder=folder,
            config=config,
            state={"masks": fixed, "rounds": plan},
            hooks=[prune_when_due],
            report=report,
        ).run(resume)
    finally:
        fixed.remove()
        for module, mode in modes.items():
            module.training = mode
    return fixed.masks


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights with decay, all vectors (norms and biases) without."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
