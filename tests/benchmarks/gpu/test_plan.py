"""The list of steps is the encoder's, the library's and the documentation's."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from gpu.encoder_layers import LAYERS, rn50_layers
from gpu_runs.plan import DENSITY, PATTERNS, STEPS, WAYS, estimates, layer_item, layers_by_value
from sparse_ovs import create_backbone
from sparse_ovs.formats import fit_mask
from sparse_ovs.ops import BLOCKS
from sparse_ovs.ops.cuda.choose import choices
from sparse_ovs.ops.cuda.request import Arithmetic
from sparse_ovs.patterns import make_mask
from sparse_ovs.profiling.bench.layers import layer_cases
from sparse_ovs.profiling.bench.runner import density_of

DOCS = Path(__file__).parents[3] / "docs" / "gpu.md"
HALF = Arithmetic(torch.float16)


def test_the_layers_are_those_of_the_encoder() -> None:
    cases = layer_cases(create_backbone("RN50"), torch.zeros(1, 3, 64, 64))
    found = [
        (layer.name, layer.shape, (1, layer.channels, layer.size, layer.size))
        for layer in rn50_layers(64)
    ]
    assert found == [(c.name, tuple(c.module.weight.shape), c.input_shape) for c in cases]
    assert sum(layer.count for layer in rn50_layers(64)) == 52


def test_the_layers_with_documented_bounds_come_first() -> None:
    layers = layers_by_value()
    assert len(layers) == len(rn50_layers(640))
    first = {(layer.shape, layer.size) for layer in layers[: len(LAYERS)]}
    assert first == {(layer.shape, layer.size) for layer in LAYERS}
    step = next(step for step in STEPS if step.name == "layers")
    assert set(step.items) == {layer_item(layer, batch) for layer in layers for batch in (1, 8)}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_way_that_is_timed_is_one_that_the_library_has(pattern: str) -> None:
    weight = torch.randn(256, 256, 3, 3)
    fit = fit_mask(make_mask(weight, pattern, density_of(pattern, DENSITY)), BLOCKS)
    found = {(choice.route.name, choice.variant) for choice in choices(fit, HALF)}
    assert set(WAYS[pattern]) <= found


def test_shares_make_a_whole_and_steps_can_be_imported() -> None:
    assert sum(step.share for step in STEPS) == pytest.approx(1)
    for step in STEPS:
        assert find_spec(f"gpu_runs.steps.{step.module}") is not None
        assert step.least_s <= step.estimate_s


def test_the_documentation_has_the_list() -> None:
    assert "\n".join(estimates()) in DOCS.read_text()
