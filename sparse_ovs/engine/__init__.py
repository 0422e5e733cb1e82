"""Whole encoders as fused plans: export, graph, passes, native segments."""

from sparse_ovs.engine.compiled import CompiledEncoder

__all__ = ["CompiledEncoder"]
