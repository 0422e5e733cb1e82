"""Pruning and distillation on really trained weights: no photo is both learnt and judged."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from sparse_ovs.patterns import make_global_masks, make_mask
from sparse_ovs.pruning.distill import LabelFreeDistillation
from sparse_ovs.pruning.fixed import FixedMasks
from sparse_ovs.pruning.row_groups import RowGroups
from support.trained_network import labelled_photos, other_photos, pixels, trained_network


@dataclass
class Judge:
    """The labelled photos (20, 3, 224, 224), their labels, and what the dense network says."""

    photos: Tensor
    labels: Tensor
    dense: Tensor

    @torch.no_grad()
    def __call__(self, network: nn.Module) -> Score:
        logits = network.eval()(self.photos)
        logs = logits.log_softmax(1)
        top5 = (logits.topk(5, 1).indices == self.labels[:, None]).any(1).sum()
        truth = logs.gather(1, self.labels[:, None]).mean()
        apart = F.kl_div(logs, self.dense.log_softmax(1), reduction="batchmean", log_target=True)
        return Score(int(top5), float(truth), float(apart))


@dataclass
class Score:
    """Photos whose label is among the five likeliest, mean log-probability of the label, and
    Kullback-Leibler divergence from the dense network, nats."""

    top5: int
    truth: float
    apart: float


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Dense; not to be changed."""
    return trained_network()


@pytest.fixture(scope="module")
def judge(network: nn.Module) -> Judge:
    photos, labels = labelled_photos()
    with torch.no_grad():
        return Judge(photos, labels, network(photos))


@pytest.fixture(scope="module")
def unlabelled() -> list[Image.Image]:
    return other_photos()


def _crops(photos: list[Image.Image], step: int, count: int = 8, size: int = 128) -> Tensor:
    """Random squares of random photos, some mirrored: the same for the same step."""
    rng = random.Random(step)
    crops = []
    for _ in range(count):
        photo = rng.choice(photos)
        side = int(min(photo.size) * rng.uniform(0.35, 1))
        x, y = (rng.randint(0, extent - side) for extent in photo.size)
        crop = photo.resize((size, size), Image.Resampling.BICUBIC, (x, y, x + side, y + side))
        made = pixels(crop)
        crops.append(made.flip(2) if rng.random() < 0.5 else made)
    return torch.stack(crops)


def _pointwise(network: nn.Module) -> dict[str, Tensor]:
    """Weights of the 1 x 1 convolutions."""
    return {
        name: module.weight.detach()
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
    }


def _pruned(network: nn.Module, sparsity: float, by_layer: bool = False) -> _Student:
    density = round(1 - sparsity, 3)
    weights = _pointwise(network)
    if by_layer:
        masks = {name: make_mask(w, "unstructured", density) for name, w in weights.items()}
    else:
        masks = make_global_masks(weights, "unstructured", density)
    student = copy.deepcopy(network)
    return _Student(student, FixedMasks(student, masks))


@dataclass
class _Student:
    """A pruned network and what keeps its zeros."""

    network: nn.Module
    masks: FixedMasks


class _Encoder(nn.Module):
    """The network as a list of maps: ends of stages at strides 4 to 32, and what the classifier
    averages."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> list[Tensor]:
        network = self.network
        x = network.bn1(network.conv_stem(x))
        maps = []
        for index, stage in enumerate(network.blocks):
            x = stage(x)
            if index in (1, 2, 4, 6):
                maps.append(x)
        return [*maps, network.bn2(network.conv_head(x))]


def _distil(student: _Student, dense: nn.Module, photos: list[Image.Image], steps: int) -> None:
    loss = LabelFreeDistillation(_Encoder(dense))
    optimizer = torch.optim.AdamW(student.network.parameters(), 3e-4, weight_decay=0)
    student.masks.attach(optimizer)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    encoder = _Encoder(student.network).eval()  # BatchNorm keeps its statistics of ImageNet
    for step in range(steps):
        optimizer.zero_grad()
        loss(encoder, _crops(photos, step))["loss"].backward()
        optimizer.step()
        schedule.step()


def test_the_dense_network_knows_all_photos(network: nn.Module, judge: Judge) -> None:
    assert len(judge.labels) == 20
    assert judge(network).top5 == 20


def test_global_pruning_by_a_third_or_half_keeps_most_answers(
    network: nn.Module, judge: Judge
) -> None:
    assert judge(_pruned(network, 0.3).network).top5 >= 19
    assert judge(_pruned(network, 0.5).network).top5 >= 16


@pytest.mark.parametrize("sparsity", [0.3, 0.5])
def test_global_pruning_beats_the_same_density_in_every_layer(
    network: nn.Module, judge: Judge, sparsity: float
) -> None:
    together = judge(_pruned(network, sparsity).network)
    apart = judge(_pruned(network, sparsity, by_layer=True).network)
    assert together.top5 >= apart.top5
    assert together.truth > apart.truth + 0.1
    assert together.apart < 0.5 * apart.apart


@pytest.mark.slow
@pytest.mark.parametrize(("sparsity", "gained"), [(0.5, 0), (0.7, 4)])
def test_label_free_distillation_on_other_photos_improves_pruned_networks(
    network: nn.Module,
    judge: Judge,
    unlabelled: list[Image.Image],
    sparsity: float,
    gained: int,
) -> None:
    student = _pruned(network, sparsity)
    before = judge(student.network)
    zeros = {name: weight == 0 for name, weight in _pointwise(student.network).items()}
    _distil(student, network, unlabelled, steps=20)
    after = judge(student.network)
    assert after.top5 >= before.top5 + gained
    assert after.truth > before.truth + 0.3
    assert after.apart < 0.6 * before.apart
    assert all(not w[zeros[name]].any() for name, w in _pointwise(student.network).items())


@pytest.mark.parametrize("density", [0.1, pytest.param(0.3, marks=pytest.mark.slow)])
def test_grouped_rows_of_trained_layers_keep_more_in_blocks(
    network: nn.Module, density: float
) -> None:
    before = after = 0.0
    for name, weight in _pointwise(network).items():
        if not name.endswith("conv_pw"):  # expansions: their outputs are internal channels
            continue
        groups = RowGroups(weight.flatten(1).abs(), 4)
        count = int(density * groups.scores.numel())
        kept = groups.scores.flatten().topk(count).values
        before += float(kept.sum())
        groups.start_from_similar(float(kept[-1]))
        groups.improve(float(kept[-1]), 30)
        after += float(groups.scores.flatten().topk(count).values.sum())
    assert after > 1.05 * before
