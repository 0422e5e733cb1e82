"""Other runtimes that run an encoder dense in int8, where they are installed."""

from sparse_ovs.profiling.runtimes.int8_dense import HOW_TO_GET, INT8_DENSE, Int8Dense, installed
from sparse_ovs.profiling.runtimes.onnx_graph import export_onnx

__all__ = ["HOW_TO_GET", "INT8_DENSE", "Int8Dense", "export_onnx", "installed"]
