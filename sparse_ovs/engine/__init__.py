"""Whole encoders as fused plans: export, graph, passes, native segments."""

from sparse_ovs.engine.compiled import CompiledEncoder
from sparse_ovs.engine.loaded import LoadedEncoder
from sparse_ovs.engine.memory import EncoderMemory

__all__ = ["CompiledEncoder", "EncoderMemory", "LoadedEncoder"]
