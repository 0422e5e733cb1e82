"""Whole encoders as fused plans: export, graph, passes, native segments."""

from sparse_ovs.engine.compiled import CompiledEncoder
from sparse_ovs.engine.loaded import LoadedEncoder
from sparse_ovs.engine.memory import EncoderMemory
from sparse_ovs.engine.quantization import Quantization, load_quantization

__all__ = [
    "CompiledEncoder",
    "EncoderMemory",
    "LoadedEncoder",
    "Quantization",
    "load_quantization",
]
