"""What weighing magnitudes by cost gives: kept magnitude at equal, measured speed-up.

python benchmarks/cost_aware.py [--size 640] [--threads 1] [--pattern unstructured] [--speedups 2,3]
                                [--picture FILE]

CLIP's weights cannot always be had; random ones have no layers that matter more. So the weights are
drawn anew: Laplacian, the scale of each layer such that global magnitude pruning to density 0.1
leaves the densities that a really trained ResNet-50 has (profile "trained").
"""

from __future__ import annotations

import argparse
import math
import os
from typing import cast, get_args

import torch
from rich.console import Console
from rich.table import Table

from sparse_ovs import _native, create_backbone
from sparse_ovs.backbones import Backbone
from sparse_ovs.backbones.density_profile import load_density_profile
from sparse_ovs.cli.options import parse_size
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.profiling import BASELINES
from sparse_ovs.profiling.pictures import draw_densities
from sparse_ovs.pruning.criteria import density_of
from sparse_ovs.pruning.speedup import SpeedupSearch, Weighing

_DENSITY = 0.1  # at which the profile is met


def main() -> None:
    """Prints a table: for each speed-up, plain and weighed masks."""
    options = _options()
    torch.manual_seed(0)
    console = Console(width=None if os.isatty(1) else 140)
    height, width = parse_size(options.size)
    backbone = create_backbone("RN50")
    draw_trained_like(backbone)
    weights = named_weights(backbone, backbone.scope())
    x = torch.randn(1, 3, height, width)
    with console.status("") as status:
        search = SpeedupSearch(
            backbone,
            x,
            backbone.scope(),
            options.pattern,
            options.threads,
            options.baselines.split(","),
            options.rounds,
            status.update,
        )
        table = Table(
            title=f"RN50 {height}x{width}, {options.pattern}, threads: {options.threads}, batch 1, "
            f"{_native.cpu_name()} ({_native.isa()}), dense: {search.baseline}"
        )
        for name in ("asked", "weighed by", "kept magnitude", "density", "GMAC", "measured", "ms"):
            table.add_column(name, justify="right")
        shown: dict[str, dict[str, float]] = {}
        for speedup in map(float, options.speedups.split(",")):
            for weigh in get_args(Weighing):
                found = search.masks_for(weights, speedup, cast(Weighing, weigh))
                by_layer = {n: float(m.double().mean()) for n, m in found.masks.items()}
                shown[f"{speedup:g}x by {weigh}"] = by_layer
                table.add_row(
                    f"{speedup:g}x",
                    weigh,
                    f"{found.kept_magnitude:.1%}",
                    f"{density_of(found.masks):.4f}",
                    f"{found.macs / 1e9:.2f}",
                    str(found.speedup),
                    f"{found.sparse_ms:.1f} / {found.dense_ms:.1f}",
                )
    console.print(table)
    if options.picture is not None:
        last = {name: shown[name] for name in list(shown)[-3::2]}  # plain and time
        draw_densities(last, options.picture, "RN50, trained-like weights: density by layer")


def draw_trained_like(backbone: Backbone) -> None:
    """Laplacian weights whose global magnitude pruning to 0.1 has the trained profile.

    |w| of a Laplacian of scale b exceeds t with probability exp(-t / b): with t = 1 everywhere, a
    layer of density d needs b = -1 / ln d.
    """
    scope = backbone.scope()
    profile = load_density_profile("trained", _DENSITY, scope)
    with torch.no_grad():
        for name, weight in named_weights(backbone, scope).items():
            magnitude = torch.empty_like(weight).exponential_(-math.log(profile[name]))
            weight.copy_(torch.where(torch.rand_like(weight) < 0.5, -magnitude, magnitude))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="640")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pattern", default="unstructured")
    parser.add_argument("--speedups", default="2,3")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--baselines", default=",".join(BASELINES))
    parser.add_argument("--picture", help="draw the densities of the last speed-up here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
