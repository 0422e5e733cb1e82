"""Losses of mask heads: values by hand, gradients, and any split of the batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sparse_ovs.heads import MaskHead, MaskLossSettings, MaskOutput, Regions, mask_head
from sparse_ovs.heads.mask_losses import class_loss_sums, cross_entropy_sum, dice_sum
from sparse_ovs.heads.mask_output import Prediction
from sparse_ovs.heads.matching import Match
from sparse_ovs.text import TextEmbeddings
from support.small_mask_heads import HEADS, WORDS, draws, small_head, small_maps

FEW = {"points": 64}


def trained(name: str = "maskformer") -> tuple[MaskHead, list[Tensor], TextEmbeddings]:
    """A head in training with few points, and maps of four images."""
    head, backbone, text = small_head(name)
    head.loss_settings = replace(head.loss_settings, **FEW)
    return head.train(), small_maps(backbone, 4), text


def some_labels(images: int = 4) -> Tensor:
    return torch.randint(-1, len(WORDS), (images, 8, 12)).repeat_interleave(8, 1).repeat(1, 1, 8)


def test_cross_entropy_is_the_mean_over_points_and_the_sum_over_masks() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3), -math.log(3)]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    expected = math.log(2) + (math.log(4 / 3) + math.log(4)) / 2
    assert cross_entropy_sum(logits, targets).item() == pytest.approx(expected, rel=1e-6)


def test_dice_compares_sums_over_points() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [math.log(3), -math.log(3), 0.0]])
    targets = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    first = 1 - (2 * 1.0 + 1) / (1.5 + 2 + 1)
    second = 1 - (2 * 0.75 + 1) / (1.5 + 1 + 1)
    assert dice_sum(logits, targets).item() == pytest.approx(first + second, rel=1e-6)


def class_sums(**settings: float) -> tuple[float, float]:
    """Of three queries and two classes: query 2 has a region of class 0, the others have none."""
    logits = torch.tensor([[[0.0, 0, 0], [0, 0, math.log(2)], [math.log(3), 0, 0]]])
    prediction = Prediction(logits, torch.zeros(1, 3, 2, 2), logits, logits)
    target = Regions(torch.tensor([1, 0]), torch.zeros(2, 4, 4, dtype=torch.bool))
    match = Match(torch.tensor([2]), torch.tensor([1]))
    loss, weight = class_loss_sums(
        prediction, [target], [match], MaskLossSettings(**settings), draws(1)
    )
    return loss.item(), weight.item()


def test_queries_without_a_region_are_no_object_and_count_less() -> None:
    expected = 0.1 * math.log(3) + 0.1 * math.log(2) + math.log(5 / 3)
    assert class_sums() == pytest.approx((expected, 1.2), rel=1e-6)


def test_queries_with_a_region_may_be_left_out() -> None:
    expected = 0.1 * math.log(3) + 0.1 * math.log(2)
    assert class_sums(ignored=1.0) == pytest.approx((expected, 0.2), rel=1e-6)


@pytest.mark.parametrize("name", HEADS)
def test_the_loss_is_the_sum_of_its_parts_and_reaches_every_parameter(name: str) -> None:
    head, maps, text = trained(name)
    losses = head.losses(head(maps, text), some_labels(), draws(4))
    assert set(losses) == {"loss", "mask", "dice", "class"}
    torch.testing.assert_close(losses["loss"], losses["mask"] + losses["dice"] + losses["class"])
    losses["loss"].backward()
    still = [k for k, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


def test_a_parts_weight_multiplies_it() -> None:
    head, maps, text = trained()
    output, labels = head(maps, text), some_labels()
    targets = mask_head.regions_from_labels(labels)
    matches = head.match(output, targets, draws(4))
    before = head.mask_losses(output, targets, matches, draws(4, 9))
    head.loss_settings = replace(head.loss_settings, dice_weight=10.0, class_weight=1.0)
    after = head.mask_losses(output, targets, matches, draws(4, 9))
    torch.testing.assert_close(after["mask"], before["mask"])
    torch.testing.assert_close(after["dice"], 2 * before["dice"])
    torch.testing.assert_close(after["class"], before["class"] / 2)


@pytest.mark.parametrize("name", HEADS)
def test_processes_with_parts_of_a_batch_have_the_loss_of_the_whole(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, maps, text = trained(name)
    labels = some_labels()

    def part(images: slice, count: Callable[[Tensor], Tensor]) -> Tensor:
        monkeypatch.setattr(mask_head, "shared_count", count)
        output = head([x[images] for x in maps], text)
        return head.losses(output, labels[images], draws(4)[images])["loss"]

    whole = part(slice(4), mask_head.shared_count)
    parts = [slice(1), slice(1, 4)]
    counts: list[list[Tensor]] = []
    for images in parts:  # what each process counts
        seen: list[Tensor] = []
        part(images, lambda count, seen=seen: seen.append(count.float()) or count.clamp(min=1))
        counts.append(seen)
    means = [sum(each) / 2 for each in zip(*counts, strict=True)]
    losses = []
    for images in parts:
        shared = iter(means)
        losses.append(part(images, lambda count, shared=shared: next(shared)))
    torch.testing.assert_close(torch.stack(losses).mean(), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", HEADS)
def test_images_without_any_label_leave_finite_gradients(name: str) -> None:
    head, maps, text = trained(name)
    losses = head.losses(head(maps, text), torch.full((4, 64, 96), -1), draws(4))
    assert losses["mask"] == losses["dice"] == 0
    losses["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_gradients_are_those_of_finite_differences() -> None:
    head, _, _ = trained()
    head.loss_settings = MaskLossSettings(points=32)
    targets = [Regions(torch.tensor([1, 0]), torch.rand(2, 8, 8) < 0.5)]
    logits = torch.randn(4, 1, 5, 3, dtype=torch.float64)
    masks = torch.randn(4, 1, 5, 6, 6, dtype=torch.float64)
    match = Match(torch.tensor([3, 0]), torch.tensor([0, 1]))

    def loss(logits: Tensor, masks: Tensor) -> Tensor:
        points = tuple(
            Prediction(c, m, c, c) for c, m in zip(logits.unbind(), masks.unbind(), strict=True)
        )
        return head.mask_losses(MaskOutput(points), targets, [[match]] * 4, draws(1))["loss"]

    inputs = logits.requires_grad_(), masks.requires_grad_()
    gradients = torch.autograd.grad(loss(*inputs), inputs)
    directions = [torch.randn_like(x) for x in inputs]
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    step = 1e-7
    ahead, behind = (
        loss(*(x.detach() + sign * step * d for x, d in zip(inputs, directions, strict=True)))
        for sign in (1, -1)
    )
    torch.testing.assert_close(slope, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-5)


def test_without_generators_torchs_own_draws() -> None:
    head, maps, text = trained()
    output, labels = head(maps, text), some_labels()
    torch.manual_seed(1)
    first, second = head.loss(output, labels), head.loss(output, labels)
    torch.manual_seed(1)
    assert head.loss(output, labels) == first != second


def test_panoptic_regions_may_share_a_class() -> None:
    head, maps, text = trained()
    output = head(maps, text)
    masks = torch.zeros(2, 64, 96, dtype=torch.bool)
    masks[0, :32], masks[1, 40:] = True, True
    targets = [Regions(torch.tensor([1, 1]), masks)] * 4
    matches = head.match(output, targets, draws(4))
    assert all(len(match.queries) == 2 for point in matches for match in point)
    assert head.mask_losses(output, targets, matches, draws(4))["loss"].isfinite()


def test_the_output_of_inference_is_refused() -> None:
    head, maps, text = trained()
    with pytest.raises(ValueError, match="output of maskformer in training, with 4 points, got 1"):
        head.losses(head.eval()(maps, text), some_labels())


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(3, 64, 96, dtype=torch.int64), "expected the regions of 4 images, got 3"),
        (torch.full((4, 64, 96), 4), r"expected classes of regions from 0 to 3, got \[4\]"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Tensor, message: str) -> None:
    head, maps, text = trained()
    with pytest.raises(ValueError, match=message):
        head.losses(head(maps, text), labels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_weight": -1.0}, "expected mask_weight of at least 0, got -1.0"),
        ({"ignored": 1.5}, "expected ignored from 0 to 1, got 1.5"),
        ({"points": 0}, "expected points of at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskLossSettings(**settings)  # type: ignore[arg-type]
