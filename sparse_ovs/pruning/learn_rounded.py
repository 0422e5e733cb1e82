"""Quantisation-aware repair: a pruned encoder learns with its numbers rounded as int8 will."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.engine import Quantization
from sparse_ovs.loop import Batches, Loop, Report
from sparse_ovs.pruning.criteria import density_of
from sparse_ovs.pruning.distill import DistillationLoss, LabelFreeDistillation
from sparse_ovs.pruning.embedding import FromClassToken, make_embedding_reader
from sparse_ovs.pruning.fixed import FixedMasks
from sparse_ovs.pruning.run import TrainSettings
from sparse_ovs.quantization import quantize
from sparse_ovs.quantization.fake import FakeQuantised


def maps_distillation(teacher: nn.Module) -> LabelFreeDistillation:
    """Label-free distillation for students that give maps alone: a ViT's embedding, which is made
    of its class token, does not count."""
    by_token = isinstance(make_embedding_reader(teacher), FromClassToken)
    return LabelFreeDistillation(teacher, embedding_weight=0.0 if by_token else 1.0)


def learn_rounded(
    model: nn.Module,
    masks: Mapping[str, Tensor],
    images: Sequence[Tensor],
    batches: Batches,
    loss: DistillationLoss,
    training: TrainSettings,
    *,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    report: Callable[[Report], None] | None = None,
) -> Quantization:
    """Trains a pruned model under its masks with weights and maps rounded to int8 wherever the
    compiled encoder rounds (see `quantization.fake`). BatchNorm's statistics stay.

    Args:
        model: a Backbone, pruned, of plain torch modules; trained in place.
        masks: bool by mask name.
        images: batches (N, 3, H, W) that the scales of maps are taken from, which stay.
        batches: of images (N, 3, H, W) to train on.
        loss: (student, images) -> scalars, such as `maps_distillation` of the dense encoder; the
            student gives maps alone.
        training: how; one round of it.
        folder, resume, report: see `prune_and_train`.

    Returns:
        The model's quantization, with the scales that it learned with.

    Raises:
        As `prune_and_train` and `quantize`.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    quantization = quantize(model, images)
    student = FakeQuantised(model, quantization, masks)
    fixed = FixedMasks(model, masks)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=training.lr, weight_decay=0.0)
    fixed.attach(optimizer)
    density = density_of(masks)

    def losses(batch: Any, _: int) -> dict[str, Tensor | float]:
        return {**loss(student, batch), "density": density}

    try:
        Loop(
            model,
            optimizer,
            losses,
            batches,
            training.loop(1),
            folder=folder,
            config={"rounded": "int8"},
            state={"masks": fixed},
            report=report,
        ).run(resume)
    finally:
        fixed.remove()
        for module, mode in modes.items():
            module.training = mode
    return student.quantization(images[0])
