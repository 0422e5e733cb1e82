"""int8 without training: scales of maps and weights from a few images."""

from sparse_ovs.engine import Quantization, load_quantization
from sparse_ovs.quantization.errors import LayerError, layer_errors
from sparse_ovs.quantization.observe import quantize

__all__ = ["LayerError", "Quantization", "layer_errors", "load_quantization", "quantize"]
