"""Training a segmenter in a cell, and what is written down about it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.data import open_dataset
from sparse_ovs.evaluation import evaluate
from sparse_ovs.heads import Head
from sparse_ovs.loop import Report
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.profiling.training_cost import TrainingCost, training_cost
from sparse_ovs.reproduce.cells import Say
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.segmenter import Segmenter
from sparse_ovs.spectral import freeze, load_selection
from sparse_ovs.text import TextEmbeddings, Vocabulary, embed_vocabulary
from sparse_ovs.training import build_task, find_recipe, override, read_toml, train_segmenter

_MANY = 100  # images


def train(recipe: str, changes: Sequence[str], folder: Path, say: Say) -> dict[str, Any]:
    """Trains by a recipe, or what is left of it.

    Returns:
        Steps, images a step, and seconds a step of the CPU and of the clock, both without what
        comes before the first logged step.
    """
    settings = build_task(override(read_toml(find_recipe(recipe)), changes))
    marks: list[tuple[int, float, float]] = []

    def report(at: Report) -> None:
        marks.append((at.step, process_time(), perf_counter()))
        say(f"step {at.step} of {at.steps}")

    train_segmenter(settings, folder, True, report)
    made = {"steps": settings.run.steps, "images": settings.run.batch * settings.run.accumulate}
    if len(marks) > 1:
        steps = marks[-1][0] - marks[0][0]
        made["cpu_seconds_a_step"] = (marks[-1][1] - marks[0][1]) / steps
        made["seconds_a_step"] = (marks[-1][2] - marks[0][2]) / steps
    return made


def load(folder: Path, experiment: Experiment) -> Segmenter:
    """What `train` made; its encoder runs as a plan where there are many images to score, since
    making one takes a second."""
    images = [score.options.get("count", _MANY) for score in experiment.columns().values()]
    return Segmenter.from_pretrained(folder, fast=sum(images) >= _MANY)


def scores(segmenter: Segmenter, experiment: Experiment, say: Say) -> dict[str, float]:
    """Mean IoU by column of the tables."""
    made = {}
    for column, score in experiment.columns().items():
        say(f"score {column}")
        dataset = open_dataset(score.dataset, None, score.split, **score.options)
        unseen: frozenset[int] = getattr(dataset, "unseen", frozenset())
        seen = [k for k in range(len(dataset.classes)) if k not in unseen]
        found = evaluate(segmenter, dataset, seen=seen, split=score.split).scores
        value = {"seen": found.seen, "unseen": found.unseen, "all": found.miou}[score.part]
        assert value is not None
        made[column] = value
    return made


class Whole(nn.Module):
    """An encoder and a head as one module of images, to count it."""

    def __init__(self, backbone: Backbone, head: Head, text: TextEmbeddings) -> None:
        super().__init__()
        self.backbone, self.head, self.text = backbone, head, text

    def forward(self, x: Tensor) -> Any:
        return self.head(self.backbone(x), self.text)


def cost(
    segmenter: Segmenter, experiment: Experiment, selection: Path | None = None
) -> TrainingCost:
    """MACs of a step on one image, the layers of a selection frozen."""
    dataset = open_dataset(*_first_data(experiment))
    words = Vocabulary.parse(list(dataset.classes))
    text = embed_vocabulary(segmenter.backbone.clip, words, "bare")
    whole = Whole(segmenter.backbone, segmenter.head, text).requires_grad_(True)
    if selection is not None:
        freeze(whole.backbone, load_selection(selection))
    size = experiment.image_size
    return training_cost(whole, torch.zeros(1, 3, size, size))


def parameters(segmenter: Segmenter) -> dict[str, int]:
    """Weights of the layers in scope that are not zero, and the head's parameters."""
    weights = named_weights(segmenter.backbone, segmenter.backbone.scope())
    trunk = sum(int(weight.count_nonzero()) for weight in weights.values())
    head = sum(p.numel() for p in segmenter.head.parameters())
    return {"encoder_weights": trunk, "head_parameters": head}


def _first_data(experiment: Experiment) -> tuple[str, None, str]:
    score = next(iter(experiment.columns().values()))
    return score.dataset, None, score.split
