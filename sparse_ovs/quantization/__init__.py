"""int8 without training: scales of maps and weights from a few images."""

from sparse_ovs.engine import Quantization, load_quantization
from sparse_ovs.quantization.observe import quantize

__all__ = ["Quantization", "load_quantization", "quantize"]
