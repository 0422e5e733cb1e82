"""Where batches come from: every batch is a function of its number, so that a run can go on
anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from sparse_ovs.loop.seeds import derive_seed, seeded


class Batches(Protocol):
    """Batches numbered 0, 1, ... without end.

    Attributes:
        batch_size: items in a batch, for items/s.
    """

    batch_size: int

    def start(self, first: int) -> Iterator[Any]:
        """Batches first, first + 1, ...; batch i is the same whatever `first` is."""
        ...

    def describe(self) -> dict[str, Any]:
        """What decides the batches, JSON-able: a checkpoint of another description is refused."""
        ...


class GeneratedBatches:
    """Batches that a function makes.

    Args:
        make: of the batch's number; draws no random numbers but from seeds that it derives.
        batch_size: items in each.
    """

    def __init__(self, make: Callable[[int], Any], batch_size: int) -> None:
        self.batch_size = _positive("a batch size", batch_size)
        self._make = make

    def start(self, first: int) -> Iterator[Any]:
        """See `Batches`."""
        while True:
            yield self._make(first)
            first += 1

    def describe(self) -> dict[str, Any]:
        """See `Batches`."""
        return {"batch_size": self.batch_size}


class DatasetBatches:
    """Shuffled batches of a map-style dataset.

    The items form one endless stream, a permutation by (seed, epoch) after the other, cut into full
    batches: nothing is dropped, and a dataset smaller than a batch will do. While the dataset makes
    an item, Python's, numpy's and torch's global generators are seeded by (seed, epoch, item), so
    random augmentation is the same with any number of workers, and after a resume.

    Args:
        dataset: has __len__ and __getitem__(int); an item must not depend on those asked before.
        batch_size: items in each batch.
        seed: of the order and of the augmentation.
        workers: processes that make batches; 0 makes them in this one.
        collate: list of items to batch; torch's default when None.
        pin_memory: see torch's DataLoader.
        share: (i, n) gives the i-th of n equal parts of every batch, for one of n processes.

    Attributes:
        first_place: in the whole batch, of the first item of the share.

    Raises:
        TypeError: the dataset has no length.
        ValueError: batch_size < 1, workers < 0, an empty dataset, or batches without equal parts.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        seed: int,
        workers: int = 0,
        collate: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if not isinstance(dataset, Sized):
            raise TypeError(f"expected a dataset with a length, got {type(dataset).__name__}")
        self.batch_size = _positive("a batch size", batch_size)
        self._items = _positive("a dataset's length", len(dataset))
        if workers < 0:
            raise ValueError(f"expected workers >= 0, got {workers}")
        self._dataset, self._seed, self._workers = dataset, seed, workers
        self._collate, self._pin_memory = collate, pin_memory
        index, count = share
        if batch_size % count:
            raise ValueError(f"expected a batch of {count} equal parts, got {batch_size} items")
        self._part = slice(index * batch_size // count, (index + 1) * batch_size // count)
        self.first_place = self._part.start

    def indices(self, number: int) -> list[tuple[int, int]]:
        """(epoch, item) of each place in the share of batch `number`."""
        return next(iter(self._numbers(number)))

    def start(self, first: int) -> Iterator[Any]:
        """See `Batches`."""
        loader = DataLoader(
            _Seeded(self._dataset, self._seed),
            batch_sampler=self._numbers(first),
            num_workers=self._workers,
            collate_fn=self._collate,
            pin_memory=self._pin_memory,
            # Without its own generator each start would draw from the global one.
            generator=torch.Generator().manual_seed(0),
        )
        return iter(loader)

    def describe(self) -> dict[str, Any]:
        """See `Batches`."""
        return {"items": self._items, "batch_size": self.batch_size, "seed": self._seed}

    def _numbers(self, first: int) -> _Numbers:
        return _Numbers(self._items, self.batch_size, self._seed, first, self._part)


class _Numbers(Sampler[list[tuple[int, int]]]):
    """(epoch, item) of a part of the batches from `first` on."""

    def __init__(self, items: int, batch_size: int, seed: int, first: int, part: slice) -> None:
        self._part = part
        self._items, self._batch_size, self._seed, self._first = items, batch_size, seed, first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, skip = divmod(self._first * self._batch_size, self._items)
        batch = []
        while True:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "epoch", epoch))
            for item in torch.randperm(self._items, generator=generator).tolist()[skip:]:
                batch.append((epoch, item))
                if len(batch) == self._batch_size:
                    yield batch[self._part]
                    batch = []
            epoch, skip = epoch + 1, 0


class _Seeded(Dataset[Any]):
    """Makes an item with the random numbers of its (seed, epoch, item)."""

    def __init__(self, dataset: Dataset[Any], seed: int) -> None:
        self._dataset, self._seed = dataset, seed

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, item = key
        with seeded(derive_seed(self._seed, "item", epoch, item)):
            return self._dataset[item]


def _positive(what: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"expected {what} of 1 or more, got {value}")
    return value
