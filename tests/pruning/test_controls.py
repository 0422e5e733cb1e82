"""Random controls: the same counts, other weights, the same on every device and day."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sparse_ovs.patterns import flatten_tap_major, parse_pattern
from sparse_ovs.patterns.units import kept_units
from sparse_ovs.pruning import magnitude_masks, random_masks_like, uniform_random_masks

PATTERNS = ["unstructured", "block4x1", "block2x3", "channel"]
SHAPES = {"conv": (32, 16, 3, 3), "point": (64, 32, 1, 1), "linear": (30, 50)}


def _masks(pattern: str) -> dict[str, Tensor]:
    weights = {name: torch.randn(shape) for name, shape in SHAPES.items()}
    densities = None if ":" in pattern else {"conv": 0.2, "point": 0.5, "linear": 0.3}
    return magnitude_masks(weights, pattern, densities, scope="layer")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_random_mask_keeps_as_many_units_of_each_layer(pattern: str) -> None:
    masks, parsed = _masks(pattern), parse_pattern(pattern)
    random = random_masks_like(masks, pattern, seed=1)
    assert list(random) == list(masks)
    for name, mask in masks.items():
        assert random[name].shape == mask.shape
        assert int(kept_units(random[name], parsed).sum()) == int(kept_units(mask, parsed).sum())
        assert not torch.equal(random[name], mask)


def test_a_random_n_of_m_mask_keeps_as_many_of_each_group() -> None:
    masks = _masks("2:4")
    masks["linear"][0, :4] = torch.tensor([False, True, False, False])  # fewer, from iterations
    random = random_masks_like(masks, "2:4", seed=1)
    for name, mask in masks.items():
        ours, theirs = flatten_tap_major(random[name]), flatten_tap_major(mask)
        for left in range(0, ours.shape[1], 4):
            group = slice(left, left + 4)
            assert torch.equal(ours[:, group].sum(1), theirs[:, group].sum(1))
        assert not torch.equal(ours, theirs)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_uniform_random_mask_keeps_so_many_units_and_nearly_the_same_density_everywhere(
    pattern: str,
) -> None:
    parsed = parse_pattern(pattern)
    count = sum(int(kept_units(m, parsed).sum()) for m in _masks(pattern).values())
    random = uniform_random_masks(SHAPES, pattern, count=count, seed=1)
    units = {name: kept_units(mask, parsed) for name, mask in random.items()}
    assert sum(int(u.sum()) for u in units.values()) == count
    density = count / sum(u.numel() for u in units.values())
    for name, unit in units.items():
        spread = (density * (1 - density) / unit.numel()) ** 0.5
        assert abs(float(unit.float().mean()) - density) < 5 * spread
        assert random[name].shape == SHAPES[name]


def test_a_uniform_random_mask_of_a_density_keeps_the_floor() -> None:
    random = uniform_random_masks({"a": (3, 3), "b": (2, 1)}, density=0.5, seed=0)
    assert sum(int(mask.sum()) for mask in random.values()) == 5
    assert uniform_random_masks({}, density=0.5, seed=0) == {}


def test_every_place_is_kept_as_often() -> None:
    mask = {"a": torch.tensor([[True, True, False, False, False, False]])}
    kept = sum(random_masks_like(mask, seed=seed)["a"].long() for seed in range(600))
    # 600 draws of 2 in 6: 200 each, standard deviation 11.5
    assert bool(((kept - 200).abs() < 60).all())


def test_a_seed_gives_the_same_masks_and_another_seed_others() -> None:
    masks = _masks("unstructured")
    again = random_masks_like(masks, seed=5)
    other = random_masks_like(masks, seed=6)
    torch.manual_seed(123)  # the global generator has no part in it
    for name, mask in random_masks_like(masks, seed=5).items():
        assert torch.equal(mask, again[name])
        assert not torch.equal(mask, other[name])


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    random_masks_like(_small(), seed=0)
    uniform_random_masks({"a": (4, 4)}, density=0.5, seed=0)
    assert torch.equal(torch.rand(1), expected)


def _small() -> dict[str, Tensor]:
    return {"a": torch.eye(4, dtype=torch.bool)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: random_masks_like(_small(), "block4x1", seed=0),
            "expected a mask of whole units of pattern 'block4x1'",
        ),
        (
            lambda: uniform_random_masks({"a": (2, 2)}, count=5, seed=0),
            "expected a count of at most 4 units, got 5",
        ),
        (
            lambda: uniform_random_masks({"a": (2, 2)}, seed=0),
            "expected a density for pattern 'unstructured', got None",
        ),
        (
            lambda: uniform_random_masks({"a": (4, 4)}, "2:4", 0.5, seed=0),
            "expected a pattern of whole units, got '2:4'",
        ),
    ],
)
def test_a_control_that_makes_no_sense_is_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
