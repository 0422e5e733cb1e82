"""Encoders that several tests look at; they cost seconds to make."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sparse_ovs import create_backbone
from sparse_ovs.backbones import Backbone
from sparse_ovs.profiling.random_weights import calibrate_random_weights


@pytest.fixture(scope="session")
def photo() -> Tensor:
    """Pixels of no special size: (1, 3, 96, 160)."""
    return torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def rn50(photo: Tensor) -> Backbone:
    """Dense RN50 whose branches all count; not to be changed."""
    backbone = create_backbone("RN50")
    calibrate_random_weights(backbone, photo)
    return backbone


@pytest.fixture(scope="session")
def sparse_rn50(rn50: Backbone) -> Backbone:
    """RN50 at density 0.1, native; not to be changed."""
    backbone = create_backbone("RN50", density=0.1, engine="native")
    backbone.load_state_dict(rn50.state_dict())
    return backbone
