"""What may be zero: patterns, and masks of the largest magnitudes in each."""

from sparse_ovs._after_import import import_what_waits
from sparse_ovs.patterns.layout import flatten_tap_major, unflatten_tap_major
from sparse_ovs.patterns.masks import make_global_masks, make_mask
from sparse_ovs.patterns.pattern import Pattern, check_density, kept_count, parse_pattern

__all__ = [
    "Pattern",
    "check_density",
    "flatten_tap_major",
    "kept_count",
    "make_global_masks",
    "make_mask",
    "parse_pattern",
    "unflatten_tap_major",
]

import_what_waits(__name__)
