"""Encoders, compiled and from a file, where they live long: forks, many sizes, many callers."""

from __future__ import annotations

import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

import sparse_ovs
from sparse_ovs.engine import CompiledEncoder
from support.forks import in_child
from support.small_encoders import Small


@pytest.fixture(params=["compiled", "released", "loaded"])
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> nn.Module:
    release = request.param == "released"
    x = torch.randn(1, 3, 16, 16)
    compiled = sparse_ovs.compile(Small().eval(), x, release_dense=release)
    if request.param != "loaded":
        return compiled
    compiled.save(tmp_path / "plan")
    return sparse_ovs.load_plan(tmp_path / "plan")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_thousand_sizes_do_not_grow_the_process(encoder: nn.Module) -> None:
    sparse_ovs.set_num_threads(1)  # a busy machine makes short parallel runs slow
    sizes = random.Random(0)
    resident = []
    for i in range(1000):
        encoder(torch.zeros(1, 3, sizes.randrange(8, 56), sizes.randrange(8, 56)))
        if i % 100 == 99:
            resident.append(_resident_bytes())
    # Caches and scratch memory fill first.
    assert resident[-1] - resident[2] < 8 << 20


def test_sixteen_callers_with_changing_sizes_get_their_own_results(encoder: nn.Module) -> None:
    inputs = [torch.randn(1, 3, 12 + i % 13, 12 + i % 7) for i in range(96)]
    expected = [encoder(x) for x in inputs]
    with ThreadPoolExecutor(16) as pool:
        for ours, theirs in zip(pool.map(encoder, inputs), expected, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_child_forked_while_others_plan_runs_and_plans(encoder: nn.Module) -> None:
    stop = threading.Event()

    def plan_for_ever() -> None:
        sizes = random.Random(1)
        while not stop.is_set():
            encoder(torch.zeros(1, 3, sizes.randrange(8, 72), sizes.randrange(8, 72)))

    threads = [threading.Thread(target=plan_for_ever) for _ in range(2)]
    for thread in threads:
        thread.start()
    x = torch.randn(1, 3, 30, 34)
    expected = encoder(x)
    try:
        for _ in range(5):
            assert in_child(
                lambda: all(torch.equal(a, b) for a, b in zip(encoder(x), expected, strict=True))
            )
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_child_forked_while_a_plan_is_made_does_not_wait_for_it() -> None:
    x = torch.randn(1, 3, 16, 16)
    compiled = sparse_ovs.compile(Small().eval(), x)
    assert isinstance(compiled, CompiledEncoder)
    with compiled._lock:  # as another thread would
        assert in_child(lambda: len(compiled(x)) == 2)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096
