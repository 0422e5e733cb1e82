"""Drop-in sparse modules, and the in-place swap of a whole model."""

from sparse_ovs.nn.attention import SparseMultiheadAttention
from sparse_ovs.nn.conv import SparseConv2d
from sparse_ovs.nn.deformable_attention import DeformableAttention
from sparse_ovs.nn.dense_conv import DenseConv2d
from sparse_ovs.nn.linear import SparseLinear
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.nn.report import LayerReport, SparsifyReport
from sparse_ovs.nn.sparsify import densify, sparsify
from sparse_ovs.nn.token_linear import TokenLinear

__all__ = [
    "DeformableAttention",
    "DenseConv2d",
    "LayerReport",
    "SparseConv2d",
    "SparseLinear",
    "SparseMultiheadAttention",
    "SparsifyReport",
    "TokenLinear",
    "densify",
    "named_weights",
    "sparsify",
]
