"""The ways to run a sparse layer on a GPU, in the order in which they are tried."""

from sparse_ovs.ops.cuda.routes.block_sparse import BLOCKS, BlockSparse
from sparse_ovs.ops.cuda.routes.route import Route, Variant
from sparse_ovs.ops.cuda.routes.single_weights import SingleWeights
from sparse_ovs.ops.cuda.routes.torch_two_four import TorchTwoFour
from sparse_ovs.ops.cuda.routes.two_four import TwoFour

ROUTES: tuple[Route, ...] = (BlockSparse(), TwoFour(), SingleWeights(), TorchTwoFour())

__all__ = ["BLOCKS", "ROUTES", "BlockSparse", "Route", "Variant"]
