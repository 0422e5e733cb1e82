"""Label-free distillation, against cosines by plain loops."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_ovs.backbones import Backbone
from sparse_ovs.pruning.distill import LabelFreeDistillation, cosine_distance
from support.small_encoders import Small


def _images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def _perturbed(model: nn.Module) -> nn.Module:
    student = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter) * parameter.abs().mean())
    return student


def _distance(a: list[float], b: list[float]) -> float:
    """1 - cos by plain loops."""
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return 1 - dot / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


def _looped(a: Tensor, b: Tensor) -> float:
    """Mean over images and positions of the distance over channels; 0 where b is zero."""
    found = []
    for one, other in zip(a, b, strict=True):  # (C, ...)
        ours, theirs = one.reshape(len(one), -1).T.tolist(), other.reshape(len(one), -1).T.tolist()
        found += [_distance(x, y) if any(y) else 0.0 for x, y in zip(ours, theirs, strict=True)]
    return sum(found) / len(found)


def test_the_loss_is_the_weighted_sum_of_cosine_distances_by_position() -> None:
    teacher = Small().double().eval()
    student = _perturbed(teacher).eval()
    x = _images().double()
    loss = LabelFreeDistillation(teacher, map_weights=(0.5, 2.0), embedding_weight=3.0)
    found = loss(student, x)
    with torch.no_grad():
        maps, wanted = student(x), teacher(x)
    terms = [_looped(a, b) for a, b in zip(maps, wanted, strict=True)]
    pooled = _looped(maps[-1].mean((2, 3)), wanted[-1].mean((2, 3)))
    assert list(found) == ["loss", "map0", "map1", "embedding"]
    assert found["map0"].item() == pytest.approx(terms[0], rel=1e-9)
    assert found["map1"].item() == pytest.approx(terms[1], rel=1e-9)
    assert found["embedding"].item() == pytest.approx(pooled, rel=1e-9)
    expected = 0.5 * terms[0] + 2 * terms[1] + 3 * pooled
    assert expected > 1e-3
    assert found["loss"].item() == pytest.approx(expected, rel=1e-9)


def test_a_student_equal_to_its_teacher_has_no_loss() -> None:
    model = Small().eval()
    assert abs(LabelFreeDistillation(model)(model, _images())["loss"].item()) < 1e-5


def test_positions_where_the_teacher_is_zero_do_not_count() -> None:
    student, teacher = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    teacher[..., 0, 0] = 0
    distance = cosine_distance(student, teacher)
    assert distance.shape == (1, 2, 2)
    assert float(distance[0, 0, 0]) == 0
    assert bool((distance[0].flatten()[1:] != 0).all())


def test_half_maps_are_compared_in_fp32() -> None:
    student, teacher = torch.randn(2, 2, 64, 3, 3).to(torch.bfloat16)
    found = cosine_distance(student, teacher)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, cosine_distance(student.float(), teacher.float()))


def test_training_the_student_never_touches_the_teacher() -> None:
    model = Small()
    loss = LabelFreeDistillation(model)
    before = copy.deepcopy(loss.teacher.state_dict())
    model.train()
    loss.train()  # as a trainer does to everything it holds
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    for _ in range(3):
        loss(model, _images())["loss"].backward()
        optimizer.step()
        loss(model, _images())["loss"].backward()
    assert not torch.equal(model.conv1.weight, loss.teacher.conv1.weight)
    assert not torch.equal(model.norm.running_mean, loss.teacher.norm.running_mean)
    for name, tensor in loss.teacher.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not any(p.requires_grad or p.grad is not None for p in loss.parameters())
    assert not any(module.training for module in loss.modules())


def test_descending_the_loss_brings_a_student_to_its_teacher() -> None:
    teacher = Small().eval()
    student = _perturbed(teacher)
    loss = LabelFreeDistillation(teacher)
    optimizer = torch.optim.Adam(student.parameters(), 0.01)
    values = []
    for _ in range(20):
        values.append(loss(student, _images())["loss"])
        optimizer.zero_grad()
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.5 * values[0]


def test_without_its_weight_no_embedding_is_made() -> None:
    loss = LabelFreeDistillation(Small(), embedding_weight=0, embed=lambda maps: 1 / 0)
    assert list(loss(Small(), _images())) == ["loss", "map0", "map1"]


def test_ones_own_embedding_is_taken_from_both() -> None:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))

    class Embed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = head

        def forward(self, maps: list[Tensor]) -> Tensor:
            return self.head(maps[-1])

    teacher, student = Small().eval(), Small(density=0.2).eval()
    found = LabelFreeDistillation(teacher, embed=Embed())(student, _images())["embedding"]
    expected = 1 - F.cosine_similarity(head(student(_images())[1]), head(teacher(_images())[1]))
    torch.testing.assert_close(found, expected.mean())
    assert head[2].weight.requires_grad  # what was given is not frozen, its copy is


def test_rn50_is_compared_by_its_four_stages_and_the_pooled_embedding(rn50: Backbone) -> None:
    student = copy.deepcopy(rn50)
    with torch.no_grad():
        student.layer1[0].conv2.weight.mul_(torch.rand_like(student.layer1[0].conv2.weight))
    loss = LabelFreeDistillation(rn50)
    found = loss(student, torch.randn(1, 3, 64, 64))
    assert list(found) == ["loss", "map0", "map1", "map2", "map3", "embedding"]
    assert all(value.item() > 1e-6 for value in found.values())
    found["embedding"].backward()
    assert float(student.layer1[0].conv2.weight.grad.abs().sum()) > 0
    assert all(p.grad is None for p in rn50.clip.model.parameters())


def test_the_copied_teacher_leaves_the_text_tower_out(rn50: Backbone) -> None:
    loss = LabelFreeDistillation(rn50)
    trunk = sum(p.numel() for p in rn50.parameters())
    pool = sum(p.numel() for p in rn50.clip.attention_pool.parameters())
    assert sum(p.numel() for p in loss.parameters()) == trunk + pool


@pytest.mark.parametrize(
    "weights", [{"map_weights": (1.0, -1.0)}, {"embedding_weight": float("nan")}]
)
def test_weights_that_make_no_sense_are_refused(weights: dict) -> None:
    with pytest.raises(ValueError, match="expected finite weights of at least 0"):
        LabelFreeDistillation(Small(), **weights)


def test_only_zeros_as_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a weight above 0"):
        LabelFreeDistillation(Small(), map_weights=(0, 0), embedding_weight=0)


def test_weights_for_another_number_of_maps_are_refused() -> None:
    loss = LabelFreeDistillation(Small(), map_weights=(1, 1, 1))
    with pytest.raises(ValueError, match="expected 2 map weights, got 3"):
        loss(Small(), _images())


def test_a_student_with_other_maps_is_refused() -> None:
    loss = LabelFreeDistillation(Small())
    with pytest.raises(ValueError, match="expected maps of the teacher's shapes"):
        loss(Small(width=16), _images())
