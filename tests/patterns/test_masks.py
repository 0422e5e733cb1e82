"""Magnitude masks: exact counts, ties, and the units of each pattern."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sparse_ovs.patterns import (
    flatten_tap_major,
    kept_count,
    make_global_masks,
    make_mask,
    parse_pattern,
    unflatten_tap_major,
)
from sparse_ovs.patterns.units import kept_units

shapes = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3)),
)
densities = st.integers(1, 100).map(lambda percent: percent / 100)


@given(shape=shapes, density=densities, seed=st.integers(0, 99))
def test_unstructured_keeps_exactly_the_floor_and_nothing_smaller_than_what_it_drops(
    shape: tuple[int, ...], density: float, seed: int
) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    mask = make_mask(weight, "unstructured", density)
    assert mask.shape == weight.shape
    assert int(mask.sum()) == kept_count(density, weight.numel())
    if mask.any() and not mask.all():
        assert weight[mask].abs().min() >= weight[~mask].abs().max()


@given(shape=shapes, density=densities, rows=st.integers(1, 5), cols=st.integers(1, 5))
def test_blocks_are_kept_whole_and_counted_exactly(
    shape: tuple[int, ...], density: float, rows: int, cols: int
) -> None:
    mask = flatten_tap_major(make_mask(torch.randn(shape), f"block{rows}x{cols}", density))
    kept = 0
    for top in range(0, mask.shape[0], rows):
        for left in range(0, mask.shape[1], cols):
            block = mask[top : top + rows, left : left + cols]
            assert bool(block.all()) or not bool(block.any())
            kept += bool(block.all())
    units = -(-mask.shape[0] // rows) * -(-mask.shape[1] // cols)
    assert kept == kept_count(density, units)


@given(shape=shapes, n=st.integers(1, 4), extra=st.integers(0, 3))
def test_n_of_m_keeps_n_in_every_group_of_neighbouring_input_channels(
    shape: tuple[int, ...], n: int, extra: int
) -> None:
    m = n + extra
    mask = flatten_tap_major(make_mask(torch.randn(shape), f"{n}:{m}"))
    for left in range(0, mask.shape[1], m):
        group = mask[:, left : left + m]
        assert bool((group.sum(1) == min(n, group.shape[1])).all())


def test_channel_keeps_whole_output_channels_of_the_largest_magnitude() -> None:
    weight = torch.tensor([[1.0, 1.0], [3.0, 0.0], [0.5, 0.5], [2.0, 2.0]])
    mask = make_mask(weight, "channel", 0.5)
    assert mask.tolist() == [[False, False], [True, True], [False, False], [True, True]]


def test_of_equal_weights_the_one_with_the_lower_tap_major_index_stays() -> None:
    weight = torch.ones(1, 2, 1, 2)  # tap-major order: (tap 0, channel 0), (tap 0, channel 1), ...
    assert make_mask(weight, "unstructured", 0.5).tolist() == [[[[True, False]], [[True, False]]]]


def test_negative_zero_ranks_as_zero() -> None:
    weight = torch.tensor([[-0.0, 0.0, -1e-30, 0.0]])
    assert make_mask(weight, "unstructured", 0.25).tolist() == [[False, False, True, False]]
    assert make_mask(weight, "unstructured", 0.5).tolist() == [[True, False, True, False]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_dtypes_are_masked_like_float32(dtype: torch.dtype) -> None:
    weight = torch.arange(1, 33).reshape(4, 8).to(dtype)
    expected = make_mask(weight.float(), "block2x2", 0.5)
    assert torch.equal(make_mask(weight, "block2x2", 0.5), expected)


def test_nan_in_a_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a weight without NaN, got NaN"):
        make_mask(torch.tensor([[1.0, float("nan")]]), "unstructured", 0.5)


def test_an_integer_weight_is_refused() -> None:
    with pytest.raises(TypeError, match=r"expected a floating point weight, got torch\.int64"):
        make_mask(torch.ones(2, 2, dtype=torch.int64), "unstructured", 0.5)


@pytest.mark.parametrize("density", [0, -1, 1.5])
def test_a_density_outside_its_range_is_refused(density: float) -> None:
    for make in (make_mask, lambda w, p, d: make_global_masks({"w": w}, p, d)):
        with pytest.raises(ValueError, match="expected a density with 0 < density <= 1, got "):
            make(torch.randn(4, 4), "unstructured", density)


def test_a_density_that_contradicts_n_of_m_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"expected density 0\.5 or None for pattern '2:4', got 0\.1"
    ):
        make_mask(torch.randn(4, 4), "2:4", 0.1)


def test_a_missing_density_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a density for pattern 'channel', got None"):
        make_mask(torch.randn(4, 4), "channel")


@given(
    sizes=st.lists(shapes, min_size=1, max_size=4),
    density=densities,
    pattern=st.sampled_from(["unstructured", "block2x1"]),
)
def test_global_masks_share_one_threshold_and_one_exact_count(
    sizes: list[tuple[int, ...]], density: float, pattern: str
) -> None:
    weights = {f"layer{i}": torch.randn(shape) for i, shape in enumerate(sizes)}
    masks = make_global_masks(weights, pattern, density)
    assert list(masks) == list(weights)
    if pattern == "unstructured":
        total = sum(w.numel() for w in weights.values())
        assert sum(int(m.sum()) for m in masks.values()) == kept_count(density, total)
        kept = torch.cat([weights[n][m].abs() for n, m in masks.items()])
        dropped = torch.cat([weights[n][~m].abs() for n, m in masks.items()])
        if kept.numel() and dropped.numel():
            assert kept.min() >= dropped.max()
    else:
        units = sum(_row_pairs(w) for w in weights.values())
        assert sum(_row_pairs_kept(m) for m in masks.values()) == kept_count(density, units)


def test_of_equal_weights_in_several_layers_the_earlier_layer_keeps_its_own() -> None:
    weights = {"b": torch.ones(1, 2), "a": torch.ones(1, 2)}
    masks = make_global_masks(weights, "unstructured", 0.75)
    assert masks["b"].tolist() == [[True, True]]
    assert masks["a"].tolist() == [[True, False]]


def test_a_global_mask_of_one_layer_is_that_layer_s_own_mask() -> None:
    weight = torch.randn(6, 5, 3, 3)
    for pattern in ("unstructured", "block4x1", "channel"):
        own = make_mask(weight, pattern, 0.3)
        assert torch.equal(make_global_masks({"w": weight}, pattern, 0.3)["w"], own)


def test_global_n_of_m_masks_are_those_of_every_layer() -> None:
    weights = {"a": torch.randn(4, 8), "b": torch.randn(3, 5, 3, 3)}
    masks = make_global_masks(weights, "2:4")
    assert all(torch.equal(masks[n], make_mask(w, "2:4")) for n, w in weights.items())


def test_no_layers_have_no_masks() -> None:
    assert make_global_masks({}, "unstructured", 0.5) == {}


def test_nan_in_one_of_many_weights_is_refused() -> None:
    weights = {"a": torch.randn(2, 2), "b": torch.full((2, 2), torch.nan)}
    with pytest.raises(ValueError, match="expected a weight without NaN, got NaN"):
        make_global_masks(weights, "unstructured", 0.5)


def test_infinite_weights_are_the_largest() -> None:
    weight = torch.tensor([[1.0, -torch.inf, 2.0, torch.inf]])
    assert make_mask(weight, "unstructured", 0.5).tolist() == [[False, True, False, True]]


def test_the_mask_of_a_parameter_has_no_gradient() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 4))
    assert not make_mask(weight, "unstructured", 0.5).requires_grad


@given(shape=shapes)
def test_flattening_tap_major_and_back_changes_nothing(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape)
    matrix = flatten_tap_major(weight)
    assert torch.equal(unflatten_tap_major(matrix, weight.shape), weight)
    if weight.dim() == 4:
        assert torch.equal(matrix, weight.permute(0, 2, 3, 1).reshape(weight.shape[0], -1))


def _row_pairs(weight: Tensor) -> int:
    return -(-weight.shape[0] // 2) * weight[0].numel()


def _row_pairs_kept(mask: Tensor) -> int:
    return int(flatten_tap_major(mask)[::2].sum())


@given(shape=shapes, pattern=st.sampled_from(["unstructured", "block4x1", "channel"]))
def test_a_count_keeps_exactly_so_many_units(shape: tuple[int, ...], pattern: str) -> None:
    weights = {"a": torch.randn(shape), "b": torch.randn(5, 3)}
    parsed = parse_pattern(pattern)
    total = sum(kept_units(torch.ones_like(w).bool(), parsed).numel() for w in weights.values())
    for count in {0, 1, total // 2, total}:
        masks = make_global_masks(weights, pattern, count=count)
        assert sum(int(kept_units(mask, parsed).sum()) for mask in masks.values()) == count


@pytest.mark.parametrize("pattern", ["unstructured", "block4x1", "channel"])
def test_a_later_mask_prunes_among_what_remains_also_where_everything_is_zero(pattern: str) -> None:
    weights = {"a": torch.randn(8, 6), "b": torch.randn(8, 2, 3, 3)}
    first = make_global_masks(weights, pattern, 0.5)
    for masked in ({n: w * first[n] for n, w in weights.items()}, _zeros(weights), weights):
        second = make_global_masks(masked, pattern, 0.25, previous=first)
        parsed = parse_pattern(pattern)
        units = [kept_units(m, parsed) for m in second.values()]
        assert sum(int(u.sum()) for u in units) == kept_count(0.25, sum(u.numel() for u in units))
        assert all(bool((first[n] | ~second[n]).all()) for n in weights)


def test_pruned_weights_stay_pruned_however_large_they_have_grown() -> None:
    weight = torch.tensor([[9.0, 1.0, 8.0, 2.0]])
    previous = torch.tensor([[False, True, False, True]])
    mask = make_mask(weight, "unstructured", count=1, previous=previous)
    assert mask.tolist() == [[False, False, False, True]]


def test_a_later_n_of_m_mask_keeps_what_it_can_of_what_remains() -> None:
    weight = torch.tensor([[4.0, 3.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    previous = torch.tensor([[False, True, True, True], [False, False, False, True]])
    mask = make_mask(weight, "2:4", previous=previous)
    assert mask.tolist() == [[False, True, True, False], [False, False, False, True]]


def test_a_cost_divides_the_score_between_layers_alone() -> None:
    weights = {"cheap": torch.tensor([[1.0, 3.0]]), "dear": torch.tensor([[4.0, 8.0]])}
    masks = make_global_masks(weights, "unstructured", count=2, costs={"cheap": 1, "dear": 4})
    assert masks["cheap"].tolist() == [[False, True]]
    assert masks["dear"].tolist() == [[False, True]]


def test_dividing_by_a_cost_makes_no_two_magnitudes_of_a_layer_equal() -> None:
    # Neighbours just below 2, rising; over 1.9 in float32 every second one would be its neighbour.
    weight = (2 - torch.arange(16, 0, -1) * 2.0**-23).view(1, 16)
    assert len(set((weight / 1.9).flatten().tolist())) < 16
    for count in range(17):
        masks = make_global_masks({"a": weight}, "unstructured", count=count, costs={"a": 1.9})
        assert masks["a"].tolist() == [[False] * (16 - count) + [True] * count]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"density": 0.5, "count": 2}, ValueError, r"expected a density or a count, got 0\.5 and"),
        ({"count": -1}, ValueError, "expected a count of at least 0, got -1"),
        ({"count": 1.0}, TypeError, r"expected a count as an integer, got 1\.0"),
        ({"count": 5}, ValueError, "expected a count of at most the 4 units that remain, got 5"),
        ({"count": 1, "costs": {}}, ValueError, "expected a cost for every layer, got none for a"),
        (
            {"count": 1, "costs": {"a": 0}},
            ValueError,
            "expected a positive, finite cost for a, got",
        ),
        ({"count": 1, "previous": {}}, ValueError, "expected a previous mask of every layer, got"),
        (
            {"count": 1, "previous": {"a": torch.ones(2, 2)}},
            TypeError,
            r"expected bool previous masks, got torch\.float32",
        ),
        (
            {"count": 1, "previous": {"a": torch.ones(4, dtype=torch.bool)}},
            ValueError,
            r"expected previous masks of the weights' shapes, got \(4,\) for \(2, 2\)",
        ),
    ],
)
def test_an_argument_out_of_its_range_is_refused(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_global_masks({"a": torch.randn(2, 2)}, "unstructured", **arguments)  # type: ignore[arg-type]


def test_more_units_than_the_previous_masks_left_are_refused() -> None:
    previous = torch.tensor([[True, False], [False, False]])
    with pytest.raises(ValueError, match="expected a count of at most the 1 units that remain"):
        make_mask(torch.randn(2, 2), "unstructured", 0.5, previous=previous)


def test_a_count_for_n_of_m_is_refused() -> None:
    with pytest.raises(ValueError, match="expected no count for pattern '2:4', got 3"):
        make_mask(torch.randn(4, 4), "2:4", count=3)


def _zeros(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(weight) for name, weight in weights.items()}
