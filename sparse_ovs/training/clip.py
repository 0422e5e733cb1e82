"""Contrastive pretraining of a small CLIP on procedural scenes and their captions."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from sparse_ovs.backbones import create_backbone
from sparse_ovs.formats import replace_file
from sparse_ovs.loop import (
    Cosine,
    DatasetBatches,
    Loop,
    LoopSettings,
    Report,
    derive_seed,
    seed_everything,
)
from sparse_ovs.training.contrastive import MOST_SCALE, contrastive_loss
from sparse_ovs.training.groups import decay_groups
from sparse_ovs.training.scene_captions import SceneCaptions


@dataclass(frozen=True)
class ClipTraining:
    """Settings of `train_clip`; those of the data are described at SceneCaptions.

    Attributes:
        model: one of open_clip whose tokenizer knows the captions' words.
        batch: pairs a step, all of which are told from each other.
        lr: of AdamW, after `warmup` steps; falls to 0 by a cosine.
        weight_decay: of weights; none of norms, biases and embeddings.
        clip_norm: largest 2-norm of all gradients together.
        seed: of scenes, weights and batches.
        checkpoint_every: steps between checkpoints.
    """

    model: str = "scenes-RN50"
    pairs: int = 4096
    objects: int = 1
    scene_size: int = 128
    crop: float = 0.7
    prompted: float = 0.25
    batch: int = 64
    steps: int = 1200
    lr: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    seed: int = 0
    checkpoint_every: int = 200


def train_clip(
    settings: ClipTraining,
    folder: str | os.PathLike[str],
    resume: bool = False,
    report: Callable[[Report], None] | None = None,
) -> Path:
    """Trains image and text tower together from random weights (Radford et al., arXiv 2103.00020,
    section 2.3).

    Args:
        folder: for the weights, the log and the checkpoints.
        resume: go on from the newest checkpoint in the folder, to the same bits.
        report: called with each step.

    Returns:
        FOLDER/clip.safetensors: open_clip's state_dict, matrices in fp16, which `create_backbone`
        takes as `pretrained`.

    Raises:
        FileExistsError: the folder holds checkpoints and resume is False.
        ValueError: a setting out of its range, an unknown model, a caption with words that its
            tokenizer does not know, or a checkpoint of other settings.
    """
    seed_everything(derive_seed(settings.seed, "weights"))
    clip = create_backbone(settings.model).clip
    model: Any = clip.model.train()
    dataset = SceneCaptions(
        settings.pairs,
        settings.objects,
        settings.scene_size,
        model.visual.image_size,
        settings.crop,
        settings.prompted,
        settings.seed,
    )
    optimizer = torch.optim.AdamW(decay_groups(model, settings.lr, settings.weight_decay))

    def losses(batch: Any, _: int) -> dict[str, Tensor]:
        pixels, sentences = batch
        images, texts, scale = model(pixels, clip.tokenizer(list(sentences)))
        found = (images @ texts.T).argmax(1) == torch.arange(len(images))
        return {
            "loss": contrastive_loss(images, texts, scale),
            "scale": scale,
            "found": found.float().mean(),
        }

    @torch.no_grad()
    def clamp_scale(_: int) -> None:
        model.logit_scale.clamp_(max=math.log(MOST_SCALE))

    Loop(
        model,
        optimizer,
        losses,
        DatasetBatches(dataset, settings.batch, settings.seed),
        LoopSettings(
            steps=settings.steps,
            seed=settings.seed,
            clip_norm=settings.clip_norm,
            schedule=Cosine(steps=settings.steps, warmup=settings.warmup),
            checkpoint_every=settings.checkpoint_every,
        ),
        folder=folder,
        config={"task": "clip", **asdict(settings)},
        hooks=[clamp_scale],
        report=report,
    ).run(resume)
    return save_clip(model, Path(folder) / "clip.safetensors", asdict(settings))


def save_clip(model: nn.Module, path: Path, settings: dict[str, Any]) -> Path:
    """Writes a whole open_clip model: matrices in fp16, vectors (norms, biases) in fp32, with the
    settings in the header; atomic."""
    tensors = {
        name: (value.half() if value.dim() > 1 else value).cpu().contiguous()
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }
    header = {"trained": ", ".join(f"{key}={value}" for key, value in settings.items())}
    replace_file(path, safetensors.torch.save(tensors, header))
    return path
