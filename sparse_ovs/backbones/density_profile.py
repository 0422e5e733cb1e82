"""Densities by layer: uniform, or those that really trained networks end up with."""

from __future__ import annotations

import importlib.resources
import json
import os
from collections.abc import Sequence
from pathlib import Path

from sparse_ovs.patterns import check_density


def load_density_profile(
    source: str | os.PathLike[str], density: float, layers: Sequence[str]
) -> dict[str, float]:
    """Density of each layer at an overall density.

    Args:
        source: "uniform"; "trained", the layer densities of a trained bottleneck ResNet-50 under
            global magnitude pruning at 0.05, 0.1, 0.2 and 0.3; or a JSON file {density: {layer:
            density}}.
        density: of all layers together.
        layers: names that the profile must cover.

    Raises:
        ValueError: a density that the profile lacks, or layers that it does not name.
        FileNotFoundError: no such file.
    """
    check_density(density)
    if source == "uniform":
        return dict.fromkeys(layers, float(density))
    if source == "trained":
        place = importlib.resources.files("sparse_ovs.backbones") / "profiles" / "rn50_trained.json"
        text = place.read_text()
    elif Path(source).is_file():
        text = Path(source).read_text()
    else:
        raise FileNotFoundError(
            f"expected profile 'uniform', 'trained' or a JSON file, got {str(source)!r}"
        )
    try:
        profiles = {float(key): dict(value) for key, value in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"expected JSON {{density: {{layer: density}}}} in {source}, got something else"
        ) from error
    if float(density) not in profiles:
        have = ", ".join(f"{d:g}" for d in sorted(profiles))
        raise ValueError(f"expected one of the profile's densities ({have}), got {density:g}")
    profile = profiles[float(density)]
    missing = [name for name in layers if name not in profile]
    extra = [name for name in profile if name not in layers]
    if missing or extra:
        raise ValueError(
            f"expected a profile of this model's layers, got one of another model: "
            f"{(missing or extra)[0]} is {'missing' if missing else 'unknown'}"
        )
    return {name: check_density(profile[name]) for name in layers}
