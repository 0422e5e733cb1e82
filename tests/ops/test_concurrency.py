"""Calls from several Python threads at once, and in forked children."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import sparse_ovs
from sparse_ovs.ops import streams
from support.forks import in_child
from support.problems import ConvProblem, conv_data

PROBLEM = ConvProblem(2, 24, 32, (15, 17))


@pytest.mark.parametrize("threads", [1, 3])
def test_concurrent_calls_of_one_layer_give_the_same_bits(threads: int) -> None:
    sparse_ovs.set_num_threads(threads)
    data = conv_data(PROBLEM)
    inputs = [torch.randn(2, 24, 15, 17) for _ in range(6)]
    expected = [data.run(x=x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            found = list(pool.map(lambda x: data.run(x=x), inputs))
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_concurrent_calls_of_one_layer_with_different_sizes() -> None:
    # Every call wants another plan than the one before.
    sparse_ovs.set_num_threads(2)
    data = conv_data(PROBLEM)
    inputs = [torch.randn(1, 24, size, size) for size in range(3, 12)]
    expected = [data.run(x=x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = list(pool.map(lambda x: data.run(x=x), inputs))
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_concurrent_first_calls_of_many_layers() -> None:
    sparse_ovs.set_num_threads(2)
    layers = [conv_data(PROBLEM.but(seed=seed)) for seed in range(8)]
    again = [conv_data(PROBLEM.but(seed=seed)) for seed in range(8)]
    expected = [layer.run() for layer in again]
    start = threading.Barrier(8)

    def first(i: int) -> torch.Tensor:
        start.wait()
        return layers[i].run()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(first, range(8)))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_concurrent_calls_with_different_weights_never_mix_them() -> None:
    # One structure, so one place where streams are kept: each call replaces the other's.
    data = conv_data(PROBLEM.but(bias=False))
    weights = [data.weight, 2 * data.weight]
    expected = [data.run(weight=weight) for weight in weights]

    def right(i: int) -> bool:
        return torch.equal(data.run(weight=weights[i % 2]), expected[i % 2])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(200)))


def test_large_outputs_of_concurrent_calls_do_not_share_memory() -> None:
    data = conv_data(ConvProblem(2, 3, 40, (70, 72), (1, 1), padding=(0, 0)))
    inputs = [torch.randn(2, 3, 70, 72) for _ in range(4)]
    expected = [data.run(x=x).clone() for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: data.run(x=x), inputs * 4))
    assert all(torch.equal(y, expected[i % 4]) for i, y in enumerate(found))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_forked_child_gives_the_bits_of_its_parent(threads: int) -> None:
    sparse_ovs.set_num_threads(threads)
    data = conv_data(PROBLEM)
    expected = data.run()
    assert in_child(lambda: torch.equal(data.run(), expected))
    assert torch.equal(data.run(), expected)  # and the parent goes on


def test_a_forked_child_packs_new_layers() -> None:
    sparse_ovs.set_num_threads(3)
    data, other = conv_data(PROBLEM), conv_data(PROBLEM)
    expected = data.run()
    assert in_child(lambda: torch.equal(other.run(), expected))


def test_children_of_a_child_work() -> None:
    sparse_ovs.set_num_threads(3)
    data = conv_data(PROBLEM)
    expected = data.run()

    def body() -> bool:
        mine = torch.equal(data.run(), expected)
        return mine and in_child(lambda: torch.equal(data.run(), expected))

    assert in_child(body)


def test_a_child_forked_while_other_threads_compute_works() -> None:
    # Locks that another thread holds at the fork are never released in the child.
    sparse_ovs.set_num_threads(2)
    data = conv_data(PROBLEM)
    large = conv_data(ConvProblem(2, 3, 40, (70, 72), (1, 1), padding=(0, 0)))
    expected, expected_large = data.run(), large.run()
    stop = threading.Event()

    def busy() -> None:
        own = conv_data(PROBLEM)
        while not stop.is_set():
            own.run()
            large.run()

    others = [threading.Thread(target=busy) for _ in range(2)]
    for thread in others:
        thread.start()
    try:
        for _ in range(5):
            assert in_child(
                lambda: (
                    torch.equal(data.run(), expected) and torch.equal(large.run(), expected_large)
                )
            )
    finally:
        stop.set()
        for thread in others:
            thread.join()


def test_a_child_forked_while_another_thread_packs_the_same_layer_works() -> None:
    data = conv_data(PROBLEM)
    expected = data.run()
    held, done = threading.Event(), threading.Event()

    layer = streams.streams_of(data.packed.indices)

    def pack_slowly() -> None:
        with streams._streams._lock, layer._lock:
            held.set()
            done.wait()

    other = threading.Thread(target=pack_slowly)
    other.start()
    held.wait()
    try:
        assert in_child(lambda: torch.equal(data.run(), expected))
    finally:
        done.set()
        other.join()
