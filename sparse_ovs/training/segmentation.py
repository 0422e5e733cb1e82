"""Trains a head, and an encoder under it, on labelled images."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparse_ovs import pruning
from sparse_ovs.backbones import Backbone
from sparse_ovs.data import open_dataset
from sparse_ovs.data.seen import only_seen
from sparse_ovs.heads import MaskHead, find_head
from sparse_ovs.loop import (
    Alone,
    DatasetBatches,
    Loop,
    LoopSettings,
    Processes,
    Report,
    derive_seed,
    seed_everything,
)
from sparse_ovs.nn import densify, sparsify
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.pruning import FixedMasks
from sparse_ovs.segmenter import RandomWeightsWarning, Segmenter, create_segmenter
from sparse_ovs.spectral import freeze, load_selection
from sparse_ovs.text import Vocabulary, embed_vocabulary
from sparse_ovs.training.batch import Batch
from sparse_ovs.training.crops import Crops, CropSettings
from sparse_ovs.training.extra import Extra
from sparse_ovs.training.extras import FromDense, FromText, Grounding
from sparse_ovs.training.groups import decay_groups
from sparse_ovs.training.objective import Objective
from sparse_ovs.training.settings import SegmentationTraining


def train_segmenter(
    settings: SegmentationTraining,
    folder: str | os.PathLike[str],
    resume: bool = False,
    report: Callable[[Report], None] | None = None,
    processes: Processes | None = None,
) -> Path:
    """Trains, and writes the segmenter; a killed run that is resumed gives the same bits.

    Args:
        settings: see SegmentationTraining.
        folder: for `log.csv`, `checkpoints/` and `segmenter.safetensors`.
        resume: go on from the newest checkpoint.
        report: called with each logged step.
        processes: that train together; None for this one alone.

    Returns:
        The folder that `Segmenter.from_pretrained` takes.

    Raises:
        ValueError, TypeError, FileNotFoundError: settings that do not fit each other, the head or
            the files they name.
        FileExistsError: the folder holds a run, and resume is False.
        PlaceInUse: another run works in the folder.
        PretrainedUnavailable: weights that cannot be downloaded.
    """
    folder, processes = Path(folder), processes or Alone()
    _check(settings, processes)
    data = settings.data
    dataset = only_seen(open_dataset(data.dataset, data.root or None, data.split, **data.options))
    seed_everything(settings.run.seed)
    segmenter = _segmenter(settings).to(processes.device)
    backbone, head = segmenter.backbone, segmenter.head
    if settings.losses:
        assert isinstance(head, MaskHead)
        head.loss_settings = replace(head.loss_settings, **settings.losses)
    vocabulary = Vocabulary.parse(list(dataset.classes))
    text = embed_vocabulary(backbone.clip, vocabulary, settings.model.templates)
    extras = _extras(settings, segmenter)  # before masks: teachers are dense
    masks, pattern = _apply_masks(settings, backbone)
    selection = load_selection(settings.encoder.selection) if settings.encoder.selection else None
    if settings.encoder.freeze:
        backbone.requires_grad_(False)
    elif selection is not None and settings.encoder.frozen_from == 0:
        freeze(backbone, selection, norms=settings.encoder.freeze_norms)
    objective = Objective(
        backbone,
        head,
        text,
        extras,
        settings.encoder.freeze,
        settings.encoder.freeze_norms,
        settings.run.seed,
    ).to(processes.device)
    lr, decay = settings.optimizer.lr, settings.optimizer.weight_decay
    optimizer = torch.optim.AdamW(
        [
            *decay_groups(head, lr, decay),
            *decay_groups(objective.extras, lr, decay),
            *decay_groups(backbone, lr * settings.optimizer.backbone_factor, decay),
        ]
    )
    state: dict[str, Any] = {}
    if masks is not None and not settings.encoder.freeze:
        fixed = FixedMasks(backbone, masks)
        fixed.attach(optimizer)
        state["masks"] = fixed
    batches = DatasetBatches(
        Crops(dataset, _crop_settings(settings, objective)),
        settings.run.batch,
        settings.run.seed,
        settings.data.workers,
        pin_memory=processes.device.type == "cuda",
        share=(processes.index, processes.count),
    )
    wrapped = processes.wrap(objective)
    late = settings.encoder.frozen_from if selection is not None else 0

    def losses(items: dict[str, Any], number: int) -> Mapping[str, Tensor]:
        nonlocal late
        if selection is not None and late and number >= late * settings.run.accumulate:
            freeze(backbone, selection, norms=settings.encoder.freeze_norms)
            late = 0
        if processes.count > 1:  # or all would drop out the same
            seed_everything(derive_seed(settings.run.seed, "process", number, processes.index))
        return wrapped(Batch.of(items, batches.first_place, processes.device), number)

    Loop(
        objective,
        optimizer,
        losses,
        batches,
        _loop_settings(settings),
        folder=folder,
        config=_what_decides(settings),
        state=state,
        report=report,
        processes=processes,
    ).run(resume)
    objective.eval()
    head.untrained = False
    head.seen = tuple(name for synonyms in vocabulary.classes for name in synonyms)
    if processes.index == 0:
        if masks is not None and not settings.encoder.sparse_kernels:
            sparsify(backbone, pattern, None, masks=masks)
        segmenter.save_pretrained(folder)
    return folder


def _check(settings: SegmentationTraining, processes: Processes) -> None:
    kind = find_head(settings.model.head)
    if not kind.learns:
        raise ValueError(f"expected a head that learns, got {kind.name}, which does not")
    if not issubclass(kind, MaskHead):
        for name, asked in (
            ("losses", bool(settings.losses)),
            ("text-guided distillation", settings.distillation.kind == "text-guided"),
            ("grounding", settings.grounding.weight > 0),
        ):
            if asked:
                raise ValueError(f"expected {name} for a head that predicts masks, got {kind.name}")
    if settings.model.checkpoint and settings.model.pretrained:
        raise ValueError("expected model.pretrained empty beside model.checkpoint, got both")
    if processes.count > 1 and settings.encoder.frozen_from > 0:
        raise ValueError("expected encoder.frozen_from of 0 with several processes, got more")


def _segmenter(settings: SegmentationTraining) -> Segmenter:
    model, crop = settings.model, settings.data.crop
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomWeightsWarning)  # training is what they are for
        if model.checkpoint:
            return create_segmenter(model.head, checkpoint=model.checkpoint)
        return create_segmenter(
            model.head,
            model.backbone,
            model.pretrained or None,
            head_sizes=model.sizes,
            output_stride=model.output_stride or None,
            templates=model.templates,
            size=crop,
        )


def _extras(settings: SegmentationTraining, segmenter: Segmenter) -> dict[str, Extra]:
    made: dict[str, Extra] = {}
    distillation = settings.distillation
    if distillation.kind == "label-free":
        made["distillation"] = FromDense(segmenter.backbone, distillation.weight)
    elif distillation.kind == "text-guided":
        assert isinstance(segmenter.head, MaskHead)
        made["distillation"] = FromText(
            segmenter.head, segmenter.backbone, distillation.weight, distillation.regions
        )
    if settings.grounding.weight:
        made["grounding"] = Grounding(settings.grounding.weight)
    return made


def _apply_masks(
    settings: SegmentationTraining, backbone: Backbone
) -> tuple[dict[str, Tensor] | None, str]:
    """Masks by the backbone's names, and their pattern."""
    if not settings.encoder.mask:
        return None, ""
    if settings.encoder.mask == "zeros":
        return _own_masks(backbone, settings.encoder.sparse_kernels)
    found = pruning.masks.load(settings.encoder.mask)
    # A checkpoint's channels are in these orders already.
    orders = {} if settings.model.checkpoint else found.orders
    masks = pruning.masks.apply(backbone, found.masks, orders)
    pattern = "unstructured" if found.info is None else found.info.pattern
    if settings.encoder.sparse_kernels:
        sparsify(backbone, pattern, None, masks=masks, fold_bn=True)
    return masks, pattern


def _own_masks(backbone: Backbone, sparse_kernels: bool) -> tuple[dict[str, Tensor], str]:
    """Of an encoder that was pruned before."""
    masks = {name: w != 0 for name, w in named_weights(backbone, backbone.scope()).items()}
    if all(bool(mask.all()) for mask in masks.values()):
        raise ValueError("expected a pruned encoder for encoder.mask 'zeros', got a dense one")
    swapped = [] if backbone.report is None else [x for x in backbone.report.layers if x.pattern]
    pattern = swapped[0].pattern if swapped else "unstructured"
    densify(backbone)
    if sparse_kernels:
        sparsify(backbone, pattern, None, masks=masks, fold_bn=True)
    return masks, pattern


def _crop_settings(settings: SegmentationTraining, objective: Objective) -> CropSettings:
    data = settings.data
    red, green, blue = (round(255 * float(value)) for value in objective.mean.flatten())
    return CropSettings(
        data.crop,
        data.scale[0],
        data.scale[1],
        data.flip,
        (red, green, blue),
        settings.grounding.words if settings.grounding.weight else 0,
        settings.grounding.dropped,
    )


def _loop_settings(settings: SegmentationTraining) -> LoopSettings:
    run = settings.run
    return LoopSettings(
        steps=run.steps,
        seed=run.seed,
        accumulate=run.accumulate,
        clip_norm=settings.optimizer.clip_norm or None,
        schedule=settings.schedule.schedule(run.steps),
        autocast=run.dtype,
        checkpoint_every=run.checkpoint_every,
        log_every=run.log_every,
    )


def _what_decides(settings: SegmentationTraining) -> dict[str, Any]:
    """What decides the numbers, files by their content; a checkpoint of others is refused."""
    made = asdict(settings)
    del made["run"], made["optimizer"], made["schedule"]  # which the loop describes
    del made["data"]["root"], made["data"]["workers"]
    for table, name in (
        ("encoder", "mask"),
        ("encoder", "selection"),
        ("model", "pretrained"),
        ("model", "checkpoint"),
    ):
        path = Path(made[table][name] or os.devnull)
        if path.is_file():
            made[table][name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return made
