"""What every test starts from: random numbers, few threads, default settings; and encoders,
which cost seconds to make."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import register_random, settings
from torch import Tensor

import sparse_ovs
from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone
from sparse_ovs.profiling.random_weights import calibrate_random_weights
from support.examples import THOROUGH
from support.long_files import long_files

# Compiling, and a busy machine, make single examples slow.
settings.register_profile("fast", deadline=None, max_examples=THOROUGH // 4)
settings.register_profile("thorough", deadline=None, max_examples=THOROUGH)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


class _TorchRandom:
    """torch's random numbers as hypothesis knows Python's: it seeds them for each example, so what
    failed once fails again."""

    def seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def getstate(self) -> Tensor:
        return torch.get_rng_state()

    def setstate(self, state: Tensor) -> None:
        torch.set_rng_state(state)


_TORCH_RANDOM = _TorchRandom()
register_random(_TORCH_RANDOM)  # keeps no reference itself


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out tests/long_files.txt")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.getoption("--quick") and collection_path in long_files() else None


@pytest.fixture(autouse=True, scope="session")
def _few_torch_threads() -> None:
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(autouse=True, scope="session")
def _no_tuning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Layers are not tuned, and the user's cache is left alone; also in fixtures of a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARSE_OVS_AUTOTUNE", "0")
        patch.setenv("SPARSE_OVS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _one_thread_for_small_nets(request: pytest.FixtureRequest) -> Iterator[None]:
    """Heads in miniature: two threads that wait for each other on a busy machine take ten times as
    long."""
    before = torch.get_num_threads()
    if {"heads", "training"} & set(request.path.parts):
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _same_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Seeds torch; the thread count follows torch's again after a test that set it."""
    monkeypatch.delenv("SPARSE_OVS_NUM_THREADS", raising=False)
    torch.manual_seed(0)
    yield
    sparse_ovs.set_num_threads(None)


@pytest.fixture(scope="session")
def photo() -> Tensor:
    """Pixels of no special size: (1, 3, 96, 160)."""
    return torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def rn50(photo: Tensor) -> Backbone:
    """Dense RN50 whose branches all count; not to be changed."""
    torch.manual_seed(0)  # made once, after whatever test came first
    backbone = create_backbone("RN50")
    calibrate_random_weights(backbone, photo)
    return backbone


@pytest.fixture(scope="session")
def sparse_rn50(rn50: Backbone) -> Backbone:
    """RN50 at density 0.1, native; not to be changed."""
    torch.manual_seed(1)  # the mask is that of the random weights which others then replace
    backbone = create_backbone("RN50", density=0.1, engine="native")
    backbone.load_state_dict(rn50.state_dict())
    return backbone
