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
from sparse_ovs.profiling.record import Int8DenseRow, LayerRow, Profile, stage_rows
from sparse_ovs.profiling.tables import error_line, int8_dense_line, profile_tables
from sparse_ovs.profiling.training_cost import TrainingCost, training_cost

__all__ = [
    "BASELINES",
    "MODES",
    "EncoderPair",
    "Int8DenseRow",
    "LayerRow",
    "Profile",
    "TrainingCost",
    "count_macs",
    "error_line",
    "int8_dense_line",
    "make_pair",
    "max_relative_error",
    "profile_encoder",
    "profile_pair",
    "profile_tables",
    "stage_rows",
    "training_cost",
    "write_html",
]
