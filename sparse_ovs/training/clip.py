"""Contrastive pretraining of a small CLIP on made scenes and their captions."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from sparse_ovs.backbones import create_backbone
from sparse_ovs.formats import replace_file
from sparse_ovs.loop import (
    Batches,
    Cosine,
    DatasetBatches,
    GeneratedBatches,
    Loop,
    LoopSettings,
    Report,
    derive_seed,
    seed_everything,
)
from sparse_ovs.training.contrastive import MOST_SCALE, contrastive_loss
from sparse_ovs.training.emoji_captions import EmojiCaptions
from sparse_ovs.training.groups import decay_groups
from sparse_ovs.training.scene_captions import SceneCaptions
from sparse_ovs.training.settings import setting


@dataclass(frozen=True)
class ClipTraining:
    """Settings of `train_clip`; those of the data are described at SceneCaptions."""

    model: str = setting("scenes-RN50", "of open_clip, whose tokenizer knows the captions' words")
    data: str = setting("scenes", "what is shown: scenes, or emoji")
    pairs: int = setting(4096, "images with captions (scenes)")
    objects: int = setting(1, "most of them in a scene (scenes)")
    scene_size: int = setting(128, "pixels of a scene's side (scenes)")
    crop: float = setting(0.7, "smallest side of the square shown, of the scene's (scenes)")
    prompted: float = setting(0.25, "share of templates among the sentences (scenes)")
    batch: int = setting(64, "pairs a step, all of which are told from each other")
    steps: int = setting(1200, "of the optimiser")
    lr: float = setting(2e-3, "of AdamW, after the warm-up; falls to 0 by a cosine")
    warmup: int = setting(100, "steps of linear rise")
    weight_decay: float = setting(0.05, "none of norms, biases and embeddings")
    clip_norm: float = setting(1.0, "largest norm of all gradients together")
    seed: int = setting(0, "of scenes, weights and batches")
    checkpoint_every: int = setting(200, "steps between checkpoints")


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
        PlaceInUse: another run works in the folder.
        ValueError: a setting out of its range, an unknown model, a caption with words that its
            tokenizer does not know, or a checkpoint of other settings.
    """
    seed_everything(derive_seed(settings.seed, "weights"))
    clip = create_backbone(settings.model).clip
    model: Any = clip.model.train()
    # Convolutions of few channels run faster so; the numbers are the same but for rounding.
    model.visual.to(memory_format=torch.channels_last)
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
        _batches(settings, int(np.max(model.visual.image_size))),  # a ViT's has two sides
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


def _batches(settings: ClipTraining, size: int) -> Batches:
    if settings.data == "emoji":
        made = EmojiCaptions(settings.batch, size, settings.seed)
        return GeneratedBatches(made, settings.batch)
    if settings.data != "scenes":
        raise ValueError(f"expected data of scenes or emoji, got {settings.data!r}")
    dataset = SceneCaptions(
        settings.pairs,
        settings.objects,
        settings.scene_size,
        size,
        settings.crop,
        settings.prompted,
        settings.seed,
    )
    return DatasetBatches(dataset, settings.batch, settings.seed)


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
