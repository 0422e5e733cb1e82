"""CLIP's ResNet-50 from end to end through the compiled GPU kernels, as modules of the library."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("triton", reason="needs triton, which is not installed")

import sparse_ovs
from gpu.cuda.emulated import need_emulator
from gpu.modules.gpu_as_cpu import cpu_tensors_on_gpu, within
from sparse_ovs.profiling.random_weights import calibrate_random_weights

# Blocks no larger than half of the narrowest layers, which have 64 channels.
ROUTES = {
    "bsr": ("block32x32", torch.float16, "forward_kernel"),
    "sp24_residue": ("unstructured", torch.float16, "sp24_residue"),
    "csr_direct": ("unstructured", torch.float32, "csr_direct"),
}
PRUNED = 52


@pytest.mark.parametrize("arch", [80, pytest.param(90, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "route",
    ["sp24_residue", *(pytest.param(r, marks=pytest.mark.slow) for r in ("bsr", "csr_direct"))],
)
def test_the_whole_trunk_equals_the_masked_dense_one(
    route: str, arch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_emulator()
    pattern, dtype, kernel = ROUTES[route]
    # The dense layers of the stem run by blocks: in full float32, as torch on the CPU.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    sparse, dense = pruned_twins(pattern)
    x = torch.randn(1, 3, 64, 64)
    calibrate_random_weights(dense, x)
    sparse.load_state_dict(dense.state_dict())
    with cpu_tensors_on_gpu(arch) as launches, torch.no_grad():
        sparse.to(dtype)
        report = sparse_ovs.sparsify(sparse, pattern, None, engine="native", fold_bn="eval")
        maps = sparse(x.to(dtype).to(memory_format=torch.channels_last))

    backends = Counter(layer.backend for layer in report.layers if layer.name.startswith("layer"))
    assert backends == {route: PRUNED}
    assert kernel in launches.names()
    for found, fp64, reference in zip(
        maps, run(dense, x, torch.float64), run(dense, x, dtype), strict=True
    ):
        assert found.dtype == dtype
        assert found.is_contiguous(memory_format=torch.channels_last)
        within(found, fp64, reference, eps=2**-20)


def pruned_twins(pattern: str) -> tuple[nn.Module, nn.Module]:
    """The pruned trunk, sparse and dense, no layer of it empty."""
    torch.manual_seed(0)
    density = 0.1 if pattern == "unstructured" else 0.25  # one block of the narrowest layers
    sparse = sparse_ovs.create_backbone("RN50", density=density, pattern=pattern, engine="native")
    dense = sparse_ovs.densify(copy.deepcopy(sparse)).eval()
    assert all(bool(layer.any()) for layer in dense.parameters() if layer.dim() == 4)
    return sparse, dense


def run(dense: nn.Module, x: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """The dense twin's maps, computed in a dtype."""
    with torch.no_grad():
        return copy.deepcopy(dense).to(dtype)(x.to(dtype))
