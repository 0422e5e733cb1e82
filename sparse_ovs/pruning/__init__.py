"""Which weights of a dense encoder stay: criteria, schedules, random controls, mask files."""

from sparse_ovs.pruning.controls import random_masks_like, uniform_random_masks
from sparse_ovs.pruning.criteria import budget_masks, magnitude_masks, unit_counts
from sparse_ovs.pruning.fixed import FixedMasks
from sparse_ovs.pruning.masks import MaskFile, MaskInfo
from sparse_ovs.pruning.schedules import gradual, iterative, one_shot
from sparse_ovs.pruning.subnetwork import (
    Subnetwork,
    SubnetworkSettings,
    Watcher,
    find_subnetwork,
)

__all__ = [
    "FixedMasks",
    "MaskFile",
    "MaskInfo",
    "Subnetwork",
    "SubnetworkSettings",
    "Watcher",
    "budget_masks",
    "find_subnetwork",
    "gradual",
    "iterative",
    "magnitude_masks",
    "one_shot",
    "random_masks_like",
    "uniform_random_masks",
    "unit_counts",
]
