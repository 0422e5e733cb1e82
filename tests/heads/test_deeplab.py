"""DeepLab's heads against their forward written out in plain operations, in double precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone
from sparse_ovs.heads import DeepLabSizes, Head, create_head
from sparse_ovs.heads.pixel_classifier import PixelClassifier
from sparse_ovs.text import TextEmbeddings, Vocabulary
from support.models import masked_dense
from support.small_clips import DEEP_RN, VIT, small_backbone

HEADS = ("deeplabv3", "deeplabv3plus")
SIZES = {"dim": 16, "low_dim": 8, "rates": (1, 2, 3)}
WORDS = Vocabulary.parse("cat, kitten; dog; sky, cloud, air")


def text_of(backbone: Backbone, vocabulary: Vocabulary = WORDS) -> TextEmbeddings:
    """Random directions of the joint space, the same each time."""
    width = backbone.clip.model.text_projection.shape[1]
    count = sum(map(len, vocabulary.classes))
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(3))
    return TextEmbeddings(F.normalize(rows, dim=1), vocabulary)


def small_head(name: str, backbone: Backbone, sizes: Any = SIZES) -> Head:
    """Random weights, with statistics that are not those of a new BatchNorm."""
    torch.manual_seed(1)
    head = create_head(name, backbone, sizes)
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return head


class Plain:
    """Both heads as functions of their weights."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = {key: value.double() for key, value in state.items()}

    def block(self, x: Tensor, name: str, rate: int = 1) -> Tensor:
        weight = self.state[f"{name}.0.weight"]
        y = F.conv2d(x, weight, padding=rate * (weight.shape[2] // 2), dilation=rate)
        mean, var, gamma, beta = (
            self.state[f"{name}.1.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((y - mean) / (var + 1e-5).sqrt() * gamma + beta).clamp(min=0)

    def pyramid(self, x: Tensor, rates: tuple[int, ...]) -> Tensor:
        seen = [self.block(x, "aspp.branches.0")]
        seen += [self.block(x, f"aspp.branches.{i}", rate) for i, rate in enumerate(rates, 1)]
        pooled = self.block(x.flatten(2).mean(2)[..., None, None], "aspp.pooled")
        seen.append(pooled * torch.ones_like(seen[0]))
        return self.block(torch.cat(seen, 1), "aspp.project")

    def logits(self, x: Tensor, text: TextEmbeddings) -> Tensor:
        """Cell by class, synonym by synonym."""
        weight = self.state["classifier.project.weight"][:, :, 0, 0]
        cells = (
            x.permute(0, 2, 3, 1).clamp(min=0) @ weight.T + self.state["classifier.project.bias"]
        )
        cells = cells / cells.norm(dim=-1, keepdim=True)
        rows, made = iter(text.rows.double()), []
        for synonyms in text.vocabulary.classes:
            made.append(torch.stack([cells @ next(rows) for _ in synonyms]).amax(0))
        void = self.state["classifier.classify.void"][0]
        made.append(cells @ (void / void.norm()))
        return self.state["classifier.classify.logit_scale"].exp() * torch.stack(made, 1)

    def v3(self, high: Tensor, rates: tuple[int, ...], text: TextEmbeddings) -> Tensor:
        return self.logits(self.block(self.pyramid(high, rates), "conv"), text)

    def v3plus(
        self, low: Tensor, high: Tensor, rates: tuple[int, ...], text: TextEmbeddings
    ) -> Tensor:
        wide = F.interpolate(self.pyramid(high, rates), low.shape[2:], mode="bilinear")
        x = torch.cat([wide, self.block(low, "low")], 1)
        return self.logits(self.block(self.block(x, "decoder.0"), "decoder.2"), text)


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    ("output_stride", "rates"), [(8, (2, 4, 6)), (16, (1, 2, 3)), (32, (1, 1, 1))]
)
def test_a_head_is_its_forward_in_plain_operations(
    name: str, output_stride: int, rates: tuple[int, ...]
) -> None:
    backbone = small_backbone(DEEP_RN, output_stride=output_stride)
    head, text = small_head(name, backbone), text_of(backbone)
    features = backbone(torch.randn(2, 3, 96, 160))
    plain, doubles = Plain(head.state_dict()), [f.double() for f in features]
    if name == "deeplabv3":
        expected = plain.v3(doubles[-1], rates, text)
    else:
        expected = plain.v3plus(doubles[0], doubles[-1], rates, text)
    made = head(features, text)
    torch.testing.assert_close(made.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dim", [5, 40])  # less and more than the joint space has
def test_logits_without_gradients_are_those_with(dim: int) -> None:
    backbone = small_backbone(DEEP_RN)
    classifier, text = PixelClassifier(dim, backbone.clip), text_of(backbone)
    x = torch.randn(2, dim, 3, 4)
    x[0, :, 0, 0] = 0
    with torch.no_grad():
        without = classifier(x, text)
    torch.testing.assert_close(without, classifier(x, text).detach(), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("name", "stride"), [("deeplabv3", 16), ("deeplabv3plus", 4)])
def test_scores_are_the_softmax_without_no_object(name: str, stride: int) -> None:
    backbone = small_backbone(DEEP_RN, output_stride=16)
    head, text = small_head(name, backbone), text_of(backbone)
    logits = head(backbone(torch.randn(1, 3, 64, 96)), text)
    assert logits.shape == (1, 4, 64 // stride, 96 // stride)
    scores = head.predict(logits)
    assert head.probabilities
    torch.testing.assert_close(scores.sum(1), 1 - logits.softmax(1)[:, -1])
    torch.testing.assert_close(scores[:, 0] / scores[:, 2], (logits[:, 0] - logits[:, 2]).exp())


@torch.no_grad()
def test_a_class_scores_by_its_best_synonym() -> None:
    backbone = small_backbone(DEEP_RN, output_stride=16)
    head, text = small_head("deeplabv3", backbone), text_of(backbone)
    features = backbone(torch.randn(1, 3, 64, 64))
    alone = Vocabulary(tuple((word,) for synonyms in WORDS.classes for word in synonyms))
    by_word = head(features, TextEmbeddings(text.rows, alone))
    best = [by_word[:, :2].amax(1), by_word[:, 2], by_word[:, 3:6].amax(1), by_word[:, 6]]
    torch.testing.assert_close(head(features, text), torch.stack(best, 1))


@pytest.mark.parametrize("name", HEADS)
def test_the_loss_is_cross_entropy_with_no_object_as_a_class_that_no_pixel_has(name: str) -> None:
    backbone = small_backbone(DEEP_RN, output_stride=16)
    head, text = small_head(name, backbone).train(), text_of(backbone)
    logits = head(backbone(torch.randn(2, 3, 64, 64)), text)
    labels = torch.randint(0, 3, (2, 64, 64))
    labels[:, :10] = -1
    large = F.interpolate(logits, (64, 64), mode="bilinear")[:, :, 10:]
    picked = large.log_softmax(1).gather(1, labels[:, None, 10:])
    torch.testing.assert_close(head.loss(logits, labels), -picked.mean())
    head.loss(logits, labels).backward()
    assert all(p.grad is not None for p in head.parameters())
    assert head.classifier.classify.void.grad.abs().max() > 0  # type: ignore[union-attr]


def test_image_pooling_refuses_to_learn_from_one_image() -> None:
    backbone = small_backbone(DEEP_RN, output_stride=16)
    head = small_head("deeplabv3", backbone).train()
    with pytest.raises(ValueError, match="expected at least 2 images to train image pooling on"):
        head(backbone(torch.randn(1, 3, 64, 64)), text_of(backbone))


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
def test_a_compiled_sparse_encoder_gives_the_masked_dense_logits(name: str) -> None:
    backbone = small_backbone(DEEP_RN, 0.3, output_stride=16)
    head, text = small_head(name, backbone), text_of(backbone)
    x = torch.randn(1, 3, 64, 96)
    fast = sparse_ovs.compile(backbone, x)
    expected = head(masked_dense(backbone)(x), text)
    torch.testing.assert_close(head(fast(x), text), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", HEADS)
def test_a_vit_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"expected a CLIP ResNet for {name}, got 'small-vit'"):
        create_head(name, small_backbone(VIT))


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"dim": 0}, "dim of at least 1, got 0"),
        ({"low_dim": 0}, "low_dim of at least 1, got 0"),
        ({"rates": ()}, "rates of at least 1"),
        ({"rates": (0, 1)}, "rates of at least 1"),
        ({"dropout": 1.0}, "dropout from 0 to below 1, got 1.0"),
        ({"last_dropout": -0.1}, "last_dropout from 0 to below 1, got -0.1"),
    ],
)
def test_sizes_that_are_none_are_refused(sizes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"expected {said}"):
        DeepLabSizes(**sizes)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("size", [(512, 512), (640, 640), (800, 1216)])
@pytest.mark.parametrize(("name", "stride"), [("deeplabv3", 16), ("deeplabv3plus", 4)])
def test_the_papers_sizes_run_on_rn50(name: str, stride: int, size: tuple[int, int]) -> None:
    backbone = create_backbone("RN50", density=0.1, output_stride=16)
    x = torch.randn(1, 3, *size)
    head, text = create_head(name, backbone), text_of(backbone)
    logits = head(sparse_ovs.compile(backbone, x)(x), text)
    assert logits.shape == (1, 4, size[0] // stride, size[1] // stride)
    assert logits.isfinite().all()
    assert head.aspp.branches[3][0].dilation == (18, 18)
