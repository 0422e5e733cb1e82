"""What every test starts from: the same random numbers, few threads, default settings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

import sparse_ovs

# Compiling, and a busy machine, make single examples slow.
settings.register_profile("sparse_ovs", deadline=None)
settings.load_profile("sparse_ovs")


@pytest.fixture(autouse=True, scope="session")
def _few_torch_threads() -> None:
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(autouse=True)
def _same_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Seeds torch; the thread count follows torch's again after a test that set it."""
    monkeypatch.delenv("SPARSE_OVS_NUM_THREADS", raising=False)
    torch.manual_seed(0)
    yield
    sparse_ovs.set_num_threads(None)
