"""An encoder of five layers, and images for it."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from support.small_classifier import make_classifier, smooth_images


@pytest.fixture
def module() -> nn.Module:
    return make_classifier()


@pytest.fixture
def images() -> Tensor:
    return smooth_images()
