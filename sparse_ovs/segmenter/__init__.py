"""Words in, masks out: an encoder, a head and a vocabulary behind one call."""

from sparse_ovs.predictor import RandomWeightsWarning
from sparse_ovs.segmenter import tasks  # noqa: F401 - registers what Segmenters do
from sparse_ovs.segmenter.create import create_segmenter
from sparse_ovs.segmenter.options import Options
from sparse_ovs.segmenter.result import Result, Segment
from sparse_ovs.segmenter.segmenter import Segmenter
from sparse_ovs.segmenter.segments import (
    FoundInstance,
    FoundSegment,
    InstanceResult,
    PanopticResult,
)

__all__ = [
    "FoundInstance",
    "FoundSegment",
    "InstanceResult",
    "Options",
    "PanopticResult",
    "RandomWeightsWarning",
    "Result",
    "Segment",
    "Segmenter",
    "create_segmenter",
]
