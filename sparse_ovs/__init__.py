"""sparse_ovs: pruned CLIP image encoders that really run faster, for open-vocabulary segmentation."""

from sparse_ovs.nn import densify, sparsify
from sparse_ovs.patterns import make_global_masks, make_mask
from sparse_ovs.threads import get_num_threads, set_num_threads

__version__ = "0.1.0"

__all__ = [
    "densify",
    "get_num_threads",
    "make_global_masks",
    "make_mask",
    "set_num_threads",
    "sparsify",
]
