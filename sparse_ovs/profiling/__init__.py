"""What an encoder costs: MACs, bytes and milliseconds, sparse against the best dense torch."""

from sparse_ovs.profiling.baselines import BASELINES
from sparse_ovs.profiling.encoder import (
    MODES,
    max_relative_error,
    profile_encoder,
    profile_pair,
)
from sparse_ovs.profiling.html import write_html
from sparse_ovs.profiling.macs import count_macs
from sparse_ovs.profiling.pair import EncoderPair, make_pair
from sparse_ovs.profiling.record import LayerRow, Profile, stage_rows
from sparse_ovs.profiling.tables import profile_tables
from sparse_ovs.profiling.training_cost import TrainingCost, training_cost

__all__ = [
    "BASELINES",
    "MODES",
    "EncoderPair",
    "LayerRow",
    "Profile",
    "TrainingCost",
    "count_macs",
    "make_pair",
    "max_relative_error",
    "profile_encoder",
    "profile_pair",
    "profile_tables",
    "stage_rows",
    "training_cost",
    "write_html",
]
