"""Batches: a function of their number, whatever the workers and wherever a run begins."""

import random
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import Dataset

from sparse_ovs.loop import DatasetBatches, GeneratedBatches
from sparse_ovs.loop.seeds import rng_state


class Noisy(Dataset[Tensor]):
    """Items of random numbers, as augmentation makes them: (number, Python, numpy, torch)."""

    def __init__(self, length: int = 7) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int) -> Tensor:
        draws = [item, random.random(), np.random.rand(), torch.rand(()).item()]
        return torch.tensor(draws, dtype=torch.float64)


def _first(batches: DatasetBatches, count: int, start: int = 0) -> list[Tensor]:
    return list(islice(batches.start(start), count))


@given(st.integers(1, 9), st.integers(1, 9))
def test_every_epoch_holds_every_item_once_and_batches_follow_on_each_other(
    items: int, batch_size: int
) -> None:
    batches = DatasetBatches(Noisy(items), batch_size, seed=3)
    stream = [key for number in range(3 * items) for key in batches.indices(number)]
    for epoch in range(3):
        part = stream[epoch * items : (epoch + 1) * items]
        assert sorted(part) == [(epoch, item) for item in range(items)]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = {
        tuple(item for _, item in DatasetBatches(Noisy(50), 50, seed).indices(epoch))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


def test_batches_and_their_augmentation_are_the_same_from_any_start() -> None:
    batches = DatasetBatches(Noisy(), 3, seed=1)
    whole = _first(batches, 6)
    assert torch.equal(torch.stack(_first(batches, 2, start=4)), torch.stack(whole[4:]))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a single core
def test_batches_and_their_augmentation_are_the_same_with_any_number_of_workers() -> None:
    expected = torch.stack(_first(DatasetBatches(Noisy(), 3, seed=1), 5))
    for workers in (1, 2):
        got = _first(DatasetBatches(Noisy(), 3, seed=1, workers=workers), 4, start=1)
        assert torch.equal(torch.stack(got), expected[1:])


def test_augmentation_differs_between_items_epochs_and_seeds() -> None:
    draws = [
        batch[:, 1:]
        for seed in (0, 1)
        for batch in _first(DatasetBatches(Noisy(4), 4, seed=seed), 2)
    ]
    for column in torch.cat(draws).T:
        assert len(column.unique()) == 16


@pytest.mark.parametrize("workers", [0, 1])
def test_making_batches_leaves_the_runs_random_numbers_alone(workers: int) -> None:
    before = rng_state()
    _first(DatasetBatches(Noisy(), 3, seed=1, workers=workers), 3)
    after = rng_state()
    assert after["python"] == before["python"]
    assert torch.equal(after["numpy"][1], before["numpy"][1])
    assert after["numpy"][2:] == before["numpy"][2:]
    assert torch.equal(after["torch"], before["torch"])


def test_items_are_collated_as_asked() -> None:
    batches = DatasetBatches(Noisy(), 3, seed=1, collate=len)
    assert _first(batches, 2) == [3, 3]  # type: ignore[comparison-overlap]


def test_a_description_tells_what_decides_the_batches() -> None:
    made = DatasetBatches(Noisy(), 3, seed=1, workers=2).describe()
    assert made == {"items": 7, "batch_size": 3, "seed": 1}
    assert GeneratedBatches(str, 5).describe() == {"batch_size": 5}


def test_generated_batches_are_those_of_their_numbers() -> None:
    assert list(islice(GeneratedBatches(lambda i: i * i, 1).start(3), 3)) == [9, 16, 25]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "expected a batch size of 1 or more, got 0"),
        ({"dataset": Noisy(0)}, "expected a dataset's length of 1 or more, got 0"),
        ({"workers": -1}, "expected workers >= 0, got -1"),
    ],
)
def test_batches_that_cannot_be_made_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DatasetBatches(**{"dataset": Noisy(), "batch_size": 2, "seed": 0, **arguments})


def test_a_dataset_without_a_length_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a dataset with a length, got Unsized"):
        DatasetBatches(type("Unsized", (Dataset,), {})(), 2, 0)


@given(st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 4))
def test_shares_of_processes_make_up_the_batch(
    items: int, each: int, count: int, start: int
) -> None:
    whole = _first(DatasetBatches(Noisy(items), each * count, 3), 3, start)
    shares = [
        DatasetBatches(Noisy(items), each * count, 3, share=(index, count))
        for index in range(count)
    ]
    assert [share.first_place for share in shares] == [index * each for index in range(count)]
    for batch, *parts in zip(whole, *(_first(share, 3, start) for share in shares), strict=True):
        assert torch.equal(batch, torch.cat(parts))


def test_batches_without_equal_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a batch of 2 equal parts, got 3 items"):
        DatasetBatches(Noisy(), 3, 0, share=(0, 2))
