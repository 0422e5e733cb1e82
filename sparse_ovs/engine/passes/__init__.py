"""Passes over the engine's graph, in the order that lets each find what the others leave."""

from __future__ import annotations

from sparse_ovs.engine.graph import Graph
from sparse_ovs.engine.passes.attend import join_projections
from sparse_ovs.engine.passes.clean import remove_unused
from sparse_ovs.engine.passes.crop import move_crops_up, shape_crops
from sparse_ovs.engine.passes.fold import fold_batch_norms, fold_scales, fold_shifts
from sparse_ovs.engine.passes.fuse import fuse_activations, fuse_residuals
from sparse_ovs.engine.passes.pad import fuse_pads


def optimise(graph: Graph) -> Graph:
    """Runs every pass, in place."""
    remove_unused(graph)
    fuse_pads(graph)
    fold_batch_norms(graph)
    fold_scales(graph)
    fold_shifts(graph)
    fuse_activations(graph)
    fuse_residuals(graph)
    fuse_activations(graph)
    move_crops_up(graph)
    shape_crops(graph)
    join_projections(graph)
    remove_unused(graph)
    return graph


__all__ = ["optimise"]
