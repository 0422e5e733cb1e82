"""Wraps the compiled library's C API: the only place that knows it is there."""

from sparse_ovs._native.batch_norm import batch_norm, batch_norm_gradients
from sparse_ovs._native.cpu import available_isas, bf16_isa, cpu_name, isa
from sparse_ovs._native.decide import Decisions, decide, decide_masks
from sparse_ovs._native.deformable_attention import (
    deformable_attention,
    deformable_attention_around,
)
from sparse_ovs._native.encoder_file import EncoderFile
from sparse_ovs._native.group_norm import group_norm
from sparse_ovs._native.layer_plans import avg_pool_plan, conv_plan
from sparse_ovs._native.loading import NativeLibraryError, NativeRefusal, unavailable_reason
from sparse_ovs._native.plan import NCHW, NHWC, Plan
from sparse_ovs._native.process import idle_buffer_bytes, take_floats, use_openmp
from sparse_ovs._native.program import Floats, Program
from sparse_ovs._native.step_info import StepInfo
from sparse_ovs._native.tuning import ConvSpot, MapPlace, Tuning
from sparse_ovs._native.weight_gradient import WeightGradient
from sparse_ovs._native.weights import NativeWeights

__all__ = [
    "NCHW",
    "NHWC",
    "ConvSpot",
    "Decisions",
    "EncoderFile",
    "Floats",
    "MapPlace",
    "NativeLibraryError",
    "NativeRefusal",
    "NativeWeights",
    "Plan",
    "Program",
    "StepInfo",
    "Tuning",
    "WeightGradient",
    "available_isas",
    "avg_pool_plan",
    "batch_norm",
    "batch_norm_gradients",
    "bf16_isa",
    "conv_plan",
    "cpu_name",
    "decide",
    "decide_masks",
    "deformable_attention",
    "deformable_attention_around",
    "group_norm",
    "idle_buffer_bytes",
    "isa",
    "take_floats",
    "unavailable_reason",
    "use_openmp",
]
