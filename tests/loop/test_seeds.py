"""Seeds: derived ones are stable, and generators go back to where they were."""

import random

import numpy as np
import pytest
import torch

from sparse_ovs.loop.encoding import decode, encode
from sparse_ovs.loop.seeds import derive_seed, rng_state, seed_everything, seeded, set_rng_state


def _draw() -> list[float]:
    # normal draws come in pairs, of which one is kept for later
    return [
        random.random(),
        random.gauss(0, 1),
        float(np.random.normal()),
        torch.rand(()).item(),
        torch.randn(()).item(),
    ]


def test_derived_seeds_do_not_change_between_versions() -> None:
    # Checkpoints of older versions must see the same batches: these are fixed for good.
    assert derive_seed(0, "epoch", 3) == 7630340433143577603


def test_derived_seeds_tell_their_parts_apart() -> None:
    parts = [(), ("1",), (1,), (1, 2), (12,), ("1/2",), ("epoch", 1), ("item", 1)]
    seeds = {derive_seed(seed, *part) for seed in (0, 1) for part in parts}
    assert len(seeds) == 2 * len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_same_seed_gives_the_same_numbers() -> None:
    seed_everything(2**40 + 1)
    first = _draw()
    seed_everything(2**40 + 1)
    assert _draw() == first
    seed_everything(2)
    assert _draw() != first


def test_generators_go_on_where_the_saved_state_was() -> None:
    seed_everything(5)
    _draw()
    tensors, tree = encode(rng_state())
    expected = [_draw(), _draw()]
    seed_everything(6)
    set_rng_state(decode(tensors, tree))
    assert [_draw(), _draw()] == expected


def test_seeded_draws_do_not_touch_what_comes_after() -> None:
    seed_everything(5)
    expected = _draw()
    seed_everything(5)
    with seeded(7):
        inside = _draw()
    assert _draw() == expected
    with seeded(7):
        assert _draw() == inside


def test_generators_go_back_after_an_error() -> None:
    seed_everything(5)
    expected = _draw()
    seed_everything(5)
    with pytest.raises(KeyError), seeded(7):
        raise KeyError
    assert _draw() == expected


def test_states_of_devices_that_are_not_there_are_refused_before_anything_changes() -> None:
    seed_everything(5)
    state = rng_state() | {"cuda": [torch.zeros(16)] * (torch.cuda.device_count() + 1)}
    expected = _draw()
    seed_everything(5)
    other = rng_state()
    _draw()
    with pytest.raises(ValueError, match=r"expected random states of at most \d+ CUDA devices"):
        set_rng_state(state)
    set_rng_state(other)
    assert _draw() == expected
