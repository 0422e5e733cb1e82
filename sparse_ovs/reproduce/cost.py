"""What training and inference cost: the paper's numbers recomputed, the honest count, the clock."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_ovs import _native
from sparse_ovs.backbones import Backbone, create_backbone
from sparse_ovs.compilation import compile
from sparse_ovs.heads import create_head, find_head
from sparse_ovs.heads.classifier import joint_width
from sparse_ovs.nn import densify
from sparse_ovs.profiling.baselines import build_baselines
from sparse_ovs.profiling.devices import device_name
from sparse_ovs.profiling.pair import make_pair
from sparse_ovs.profiling.timing import Timings, time_interleaved
from sparse_ovs.profiling.training_cost import TrainingCost, training_cost
from sparse_ovs.reproduce.cells import Cell, Say, Store
from sparse_ovs.reproduce.encoders import (
    ARMS,
    CLIP,
    DENSE,
    PATTERNS,
    EncoderCell,
    encoder_cell_name,
)
from sparse_ovs.reproduce.experiment import Experiment
from sparse_ovs.reproduce.steps import BASELINE, STEP_ARMS, TrainingStep
from sparse_ovs.reproduce.trained import Whole
from sparse_ovs.spectral import freeze
from sparse_ovs.spectral.controls import AUTHORS
from sparse_ovs.text import TextEmbeddings, Vocabulary

IMAGES = 40_000 * 28
"""That the paper trains on with layers frozen: iterations times batch."""
# (params M, GMAC) of arXiv 2404.07448, dense and with its encoder at "10 %". Its 105.0 GMAC of RN50
# are those of a training crop of 512 pixels, 28.3, times 800 x 1216 / 512 / 512.
PAPER_MODELS = {
    "maskformer": ((44.1, 268.2), (22.9, 173.3)),
    "deeplabv3": ((40.3, 241.3), (19.1, 146.8)),
    "fcclip": ((39.0, 200.1), (17.8, 105.6)),
}
SPREADS = ("uniform", "trained")
_CLASSES = 133


@dataclass(frozen=True)
class CountCell(Cell):
    """MACs of a training step of RN50's trunk, and of whole models at the paper's sizes."""

    def run(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        size = experiment.cost_size
        image = torch.zeros(1, 3, *experiment.model_size)
        trunk: dict[str, Any] = {}
        models: dict[str, dict[str, Any]] = {head: {} for head in PAPER_MODELS}
        for spread in SPREADS:
            for stride in {find_head(head).output_stride for head in PAPER_MODELS} | {None}:
                say(f"count RN50, {spread}")
                backbone = create_backbone(
                    "RN50", density=0.1, profile=spread, output_stride=stride
                )
                densify(backbone)
                for head, model in models.items():
                    if find_head(head).output_stride == stride:
                        model |= _model(head, backbone, spread, image)
                if stride is None:
                    freeze(backbone, AUTHORS)
                    trunk[spread] = _steps(training_cost(backbone, torch.zeros(1, 3, size, size)))
        return {
            "size": size,
            "model_size": experiment.model_size,
            "trunk": trunk,
            "models": models,
        }


def _steps(cost: TrainingCost) -> dict[str, Any]:
    """By what is frozen and sparse: MACs of one image's step, ours and by the paper's rule."""
    made: dict[str, Any] = {
        "macs": sum(one.macs.dense for one in cost.layers),
        "frozen_macs": sum(one.macs.dense for one in cost.layers if one.frozen),
    }
    for name, frozen, sparse in (
        ("dense", False, False),
        ("frozen", True, False),
        ("sparse", False, True),
        ("sparse, frozen", True, True),
    ):
        ours = cost.ours(frozen, sparse)
        made[name] = {
            "forward": ours.forward,
            "input_gradient": ours.input_gradient,
            "weight_gradient": ours.weight_gradient,
            "total": ours.total,
            "paper_total": cost.paper(frozen, sparse).total,
        }
    return made


def _model(head: str, backbone: Backbone, spread: str, example: Tensor) -> dict[str, Any]:
    """Parameters and forward MACs of a whole model at the paper's sizes, 133 classes."""
    words = Vocabulary.parse([f"class {number}" for number in range(_CLASSES)])
    rows = torch.nn.functional.normalize(torch.randn(_CLASSES, joint_width(backbone.clip)))
    whole = Whole(backbone, create_head(head, backbone, "paper"), TextEmbeddings(rows, words))
    cost = training_cost(whole.eval(), example)
    pool = sum(p.numel() for p in _pool(backbone).parameters())
    return {
        spread: cost.ours().forward,
        "dense": cost.ours(sparse=False).forward,
        "parameters": sum(p.numel() for p in backbone.parameters())
        + sum(p.numel() for p in whole.head.parameters())
        + (pool if head == "fcclip" else 0),
    }


def _pool(backbone: Any) -> nn.Module:
    return backbone.clip.visual.attnpool


@dataclass(frozen=True)
class TimingCell(Cell):
    """Milliseconds of every arm's encoder through the engine, and of dense torch, in turn: of the
    experiment's own encoder, and of a large one with the same densities by layer."""

    alone: ClassVar[bool] = True

    @classmethod
    def of(cls, density: float) -> TimingCell:
        """The cell; the encoders are those of seed 0."""
        needs = [encoder_cell_name(arm, density, 0) for arm in ARMS if arm != DENSE]
        return cls("timing/encoders", tuple(needs))

    def run(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        plan = experiment.timing
        made = {"machine": _machine(), "own": self._own(experiment, store, say)}
        if plan.large_size:
            made["large"] = self._large(experiment, store, say)
        return made

    @torch.no_grad()
    def _own(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        plan = experiment.timing
        x = torch.randn(1, 3, plan.size, plan.size)
        dense = create_backbone(experiment.model, experiment.pretrained).eval()
        runs: dict[str, Any] = dict(build_baselines(dense, x, plan.baselines, say).runs)
        torch_arms = list(runs)
        for arm in ARMS:
            if arm == DENSE:
                encoder = dense
            else:
                name = encoder_cell_name(arm, experiment.density, 0)
                path = store.folder_of(name) / CLIP
                encoder = create_backbone(
                    dense.clip.name, path, "weights", PATTERNS.get(arm, "unstructured")
                ).eval()
            runs[arm] = partial(compile(encoder, x), x)
        return _compare(time_interleaved(runs, plan.rounds), torch_arms)

    @torch.no_grad()
    def _large(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        plan = experiment.timing
        x = torch.randn(1, 3, plan.large_size, plan.large_size)
        runs: dict[str, Any] = {}
        torch_arms: list[str] = []
        folder = store.folder_of(self.name)
        for arm in ARMS:
            if arm == DENSE:
                continue
            say(f"{plan.large} with the densities of {arm}")
            record = store.read(encoder_cell_name(arm, experiment.density, 0))
            assert record is not None
            spread = {layer: max(d, 1e-4) for layer, d in record["densities"].items()}
            path = folder / f"{arm}.json"
            path.write_text(json.dumps({experiment.density: spread}))
            pattern = PATTERNS.get(arm, "unstructured")
            pair = make_pair(plan.large, x, experiment.density, pattern, profile=path)
            if not torch_arms:
                runs |= build_baselines(pair.dense, x, plan.baselines, say).runs
                torch_arms = list(runs)
            runs[arm] = partial(compile(pair.sparse, x), x)
        return _compare(time_interleaved(runs, plan.rounds), torch_arms)


@dataclass(frozen=True)
class StepCell(Cell):
    """Milliseconds of training steps of RN50's trunk, in turn."""

    alone: ClassVar[bool] = True

    def run(self, experiment: Experiment, store: Store, say: Say) -> dict[str, Any]:
        plan = experiment.timing
        if not plan.step_size:
            return {"machine": _machine()}
        arms = {}
        for name in STEP_ARMS:
            say(f"prepare a step, {name}")
            arms[name] = TrainingStep(name, plan.step_size, plan.step_batch)
        times = time_interleaved(arms, plan.rounds, lambda done: say(f"round {done}"))
        return {
            "machine": _machine(),
            "size": plan.step_size,
            "batch": plan.step_batch,
            **_compare(times, [BASELINE]),
        }


def cost_cells(experiment: Experiment) -> list[Cell]:
    """Counts, then times."""
    density = experiment.density
    encoders: list[Cell] = [EncoderCell.of(arm, density, 0) for arm in ARMS if arm != DENSE]
    measured = [CountCell("cost/counts"), TimingCell.of(density), StepCell("timing/steps")]
    return [*encoders, *measured]


def _compare(times: Timings, dense: list[str]) -> dict[str, Any]:
    """Medians, and how many times as fast as the fastest dense one, with quartiles."""
    best = times.fastest(dense)
    made: dict[str, Any] = {"baseline": best, "arms": {}}
    for name in times.samples:
        ratio = times.ratio(best, name)
        made["arms"][name] = {
            "ms": times.median(name),
            "ratio": ratio.median,
            "low": ratio.low,
            "high": ratio.high,
        }
    return made


def _machine() -> dict[str, Any]:
    return {
        "cpu": device_name(torch.device("cpu")),
        "isa": _native.isa(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
