"""Drop-in sparse modules, and the in-place swap of a whole model."""

from sparse_ovs.nn.attention import SparseMultiheadAttention
from sparse_ovs.nn.conv import SparseConv2d
from sparse_ovs.nn.deformable_attention import DeformableAttention
from sparse_ovs.nn.linear import SparseLinear
from sparse_ovs.nn.named_weights import named_weights
from sparse_ovs.nn.report import LayerReport, SparsifyReport
from sparse_ovs.nn.sparsify import densify, sparsify

__all__ = [
    "DeformableAttention",
    "LayerReport",
    "SparseConv2d",
    "SparseLinear",
    "SparseMultiheadAttention",
    "SparsifyReport",
    "densify",
    "named_weights",
    "sparsify",
]
