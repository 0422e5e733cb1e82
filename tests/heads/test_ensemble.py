"""Two classifiers joined in log space: by hand, where probabilities underflow, and without CLIP."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.heads.ensemble import join_classifiers

YES = torch.ones(1, 1, dtype=torch.bool)


def test_probabilities_are_a_weighted_geometric_mean() -> None:
    trained = torch.tensor([[[0.6, 0.2, 0.2]]]).log()  # 3/4 and 1/4 without "no object"
    of_clip = torch.tensor([[[0.1, 0.9]]]).log()
    joint = join_classifiers(trained, of_clip, torch.tensor([0.5, 0.5]), YES).exp()
    first, second = (0.75 * 0.1) ** 0.5, (0.25 * 0.9) ** 0.5
    total = first + second
    expected = torch.tensor([[[0.8 * first / total, 0.8 * second / total, 0.2]]])
    torch.testing.assert_close(joint, expected)


def test_weights_of_0_and_1_leave_one_classifier() -> None:
    trained, of_clip = torch.randn(1, 1, 4), torch.randn(1, 1, 3)
    void = trained.softmax(-1)[..., 3:]
    for weight, alone in ((0.0, trained[..., :3]), (1.0, of_clip)):
        joint = join_classifiers(trained, of_clip, torch.full((3,), weight), YES).exp()
        torch.testing.assert_close(joint[..., :3], alone.softmax(-1) * (1 - void))
        torch.testing.assert_close(joint[..., 3:], void)


def test_probabilities_that_underflow_leave_no_nan() -> None:
    # exp(-400) is 0 in fp32, and 0 to the power of 0.6 times infinity's logarithm would be NaN.
    trained = torch.tensor([[[0.0, -400.0, -400.0]]])
    of_clip = torch.tensor([[[-400.0, 0.0]]])
    joint = join_classifiers(trained, of_clip, torch.tensor([0.4, 0.8]), YES)
    assert joint.isfinite().all()
    # 0.6 * 0 + 0.4 * -400 = -160 against 0.2 * -400 + 0.8 * 0 = -80.
    torch.testing.assert_close(joint[0, 0, 1].exp(), torch.tensor(1.0))


def test_a_query_without_a_mask_is_left_to_the_trained_classifier() -> None:
    trained = torch.randn(1, 2, 4)
    of_clip = torch.full((1, 2, 3), torch.nan)
    no = torch.zeros(1, 2, dtype=torch.bool)
    joint = join_classifiers(trained, of_clip, torch.tensor([0.4, 0.8, 0.8]), no)
    torch.testing.assert_close(joint.exp(), trained.softmax(-1))


@given(st.integers(1, 5), st.floats(0, 200), st.integers(0, 1000))
def test_probabilities_sum_to_1(classes: int, spread: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    trained = spread * torch.randn(2, 3, classes + 1, generator=generator)
    of_clip = spread * torch.randn(2, 3, classes, generator=generator)
    weights = torch.rand(classes, generator=generator)
    counts = torch.rand(2, 3, generator=generator) < 0.5
    joint = join_classifiers(trained, of_clip, weights, counts)
    torch.testing.assert_close(joint.logsumexp(-1), torch.zeros(2, 3), rtol=0, atol=1e-4)


def test_half_precision_is_joined_in_fp32() -> None:
    trained, of_clip = torch.randn(1, 1, 4).bfloat16(), torch.randn(1, 1, 3).bfloat16()
    assert join_classifiers(trained, of_clip, torch.rand(3), YES).dtype == torch.float32
