"""Whole encoders as fused plans: export, graph, passes, native segments.

The argument `engine` of `sparsify` and of sparse layers is another thing: what runs one layer.
"""

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
