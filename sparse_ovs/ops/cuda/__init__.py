"""How the CUDA kernels are launched: checks, variants, grids and arguments."""

from sparse_ovs.ops.cuda.csr_direct import csr_conv2d, csr_matmul
from sparse_ovs.ops.cuda.launch import Launch
from sparse_ovs.ops.cuda.sp24_residue import TILES, Tile, sp24_conv2d, sp24_linear

__all__ = ["TILES", "Launch", "Tile", "csr_conv2d", "csr_matmul", "sp24_conv2d", "sp24_linear"]
