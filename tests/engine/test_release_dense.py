"""compile(release_dense=True): no dense weights are kept, and all works or says why not."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

import sparse_ovs
from support.small_encoders import Host, Small

X = torch.randn(1, 3, 20, 24)


def test_dense_weights_of_native_steps_are_gone() -> None:
    compiled = sparse_ovs.compile(Small(width=32).eval(), X, release_dense=True)
    biases = sum(4 * n for n in (32, 16, 16, 64, 64))
    assert compiled.memory().dense_bytes == biases


def test_the_model_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[weakref.ref[nn.Module]] = []
    plain_copy = sparse_ovs.compilation.plain_copy
    monkeypatch.setattr(
        sparse_ovs.compilation,
        "plain_copy",
        lambda model: (made := plain_copy(model), copies.append(weakref.ref(made)))[0],
    )
    compiled = sparse_ovs.compile(Small().eval(), X, release_dense=True)
    gc.collect()
    assert copies[0]() is None
    assert len(compiled(X)) == 2


def test_other_sizes_run_to_the_bit() -> None:
    model = Small().eval()
    kept = sparse_ovs.compile(model, X)
    released = sparse_ovs.compile(model, X, release_dense=True)
    for size in ((20, 24), (33, 17), (8, 8)):
        x = torch.randn(2, 3, *size)
        assert all(torch.equal(a, b) for a, b in zip(released(x), kept(x), strict=True))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
def test_the_plans_of_many_sizes_hold_at_most_a_quarter_of_the_dense_weights(
    pattern: str, threads: int
) -> None:
    model = Small(0.1, pattern, width=512).eval()
    dense = sum(4 * m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
    kept = sparse_ovs.compile(model, X, threads)
    released = sparse_ovs.compile(model, X, threads, release_dense=True)
    for size in ((20, 24), (64, 64), (48, 80), (14, 14), (30, 22), (96, 40)):
        x = torch.randn(1, 3, *size)
        assert all(torch.equal(a, b) for a, b in zip(released(x), kept(x), strict=True))
        memory = released.memory()
        assert memory.packed_bytes + memory.stream_bytes <= 0.25 * dense
    assert len(memory.arena_bytes) == 6


def test_sparse_weights_are_held_once() -> None:
    model = Small(0.1, width=128).eval()
    kept, released = (
        sparse_ovs.compile(model, X, release_dense=release).memory() for release in (False, True)
    )
    assert kept.packed_bytes > kept.stream_bytes / 2
    assert released.packed_bytes < kept.packed_bytes / 4


@pytest.mark.parametrize("density", [0.3, 1.0])
@pytest.mark.parametrize("pattern", ["unstructured", "block4x1"])
def test_it_is_saved_to_the_same_bytes(density: float, pattern: str, tmp_path: Path) -> None:
    model = Small(density, pattern).eval()
    for name, release in (("kept", False), ("released", True)):
        compiled = sparse_ovs.compile(model, X, release_dense=release)
        compiled(torch.randn(1, 3, 33, 17))
        compiled.save(tmp_path / name)
    assert (tmp_path / "kept").read_bytes() == (tmp_path / "released").read_bytes()


def test_with_torch_nodes_other_sizes_are_refused_with_the_reason() -> None:
    model = Host(lambda conv, x: torch.sigmoid(conv(x))).eval()
    compiled = sparse_ovs.compile(model, X, release_dense=True)
    with pytest.raises(ValueError, match=r"expected an input \(1, 3, 20, 24\) after release_dense"):
        compiled(torch.randn(1, 3, 8, 8))
    expected = sparse_ovs.compile(model, X)(X)
    for threads in (1, 2):  # another plan of the same size
        sparse_ovs.set_num_threads(threads)
        assert torch.equal(compiled(X), expected)
