"""Points of masks: read bilinearly, and chosen where masks are uncertain."""

from __future__ import annotations

import torch

from sparse_ovs.heads.mask_points import random_points, sample, sample_shared, uncertain_points
from support.small_mask_heads import draws

GRID = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def test_points_read_cells_at_their_centres_and_mix_them_between() -> None:
    points = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.25], [0.5, 0.5]])
    read = sample_shared(GRID[None], points)
    torch.testing.assert_close(read, torch.tensor([[1.0, 2.0, 3.0, 1.5, 2.5]]))


def test_outside_of_a_map_is_zero() -> None:
    # The corner lies between one cell and three that are not there.
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.75]])
    read = sample_shared(GRID[None], points)
    torch.testing.assert_close(read, torch.tensor([[0.25, 1.0, 2.0]]))


def test_maps_are_read_at_their_own_points() -> None:
    points = torch.tensor([[[0.25, 0.25]], [[0.75, 0.75]]])
    read = sample(torch.stack((GRID, 10 * GRID)), points)
    torch.testing.assert_close(read, torch.tensor([[1.0], [40.0]]))


def test_no_maps_have_no_values() -> None:
    points = torch.zeros(0, 7, 2)
    assert sample(torch.zeros(0, 4, 4), points).shape == (0, 7)
    assert uncertain_points(torch.zeros(0, 4, 4), 8, 3, 0.75, None).shape == (0, 8, 2)


def test_three_quarters_are_the_least_certain_of_three_times_as_many() -> None:
    logits = torch.randn(2, 8, 8)
    chosen = uncertain_points(logits, 16, 3, 0.75, draws(1)[0])
    (generator,) = draws(1)
    candidates = random_points(2, 48, generator, logits.device)
    others = random_points(2, 4, generator, logits.device)
    for mask in range(2):
        certain = sample(logits, candidates)[mask].abs()
        wanted = candidates[mask][certain.argsort()[:12]]
        assert {tuple(p) for p in chosen[mask, :12].tolist()} == set(map(tuple, wanted.tolist()))
        assert torch.equal(chosen[mask, 12:], others[mask])


def test_points_crowd_where_a_mask_ends() -> None:
    logits = torch.linspace(-10, 10, 64).expand(1, 64, 64)  # rises from left to right
    x = uncertain_points(logits, 1000, 3, 0.75, draws(1)[0])[0, :, 0]
    assert float(((x - 0.5).abs() < 0.13).float().mean()) > 0.7
