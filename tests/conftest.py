"""What every test starts from: the same random numbers, few threads, no caches of the user."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import sparse_ovs


@pytest.fixture(autouse=True, scope="session")
def _few_torch_threads() -> None:
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(autouse=True)
def _same_start(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Seeds torch, follows torch's thread count, and keeps the user's settings out."""
    monkeypatch.delenv("SPARSE_OVS_NUM_THREADS", raising=False)
    monkeypatch.setenv("SPARSE_OVS_CACHE", str(_cache(tmp_path_factory)))
    torch.manual_seed(0)
    yield
    sparse_ovs.set_num_threads(None)


def _cache(factory: pytest.TempPathFactory) -> Path:
    return factory.getbasetemp() / "sparse_ovs-cache"
