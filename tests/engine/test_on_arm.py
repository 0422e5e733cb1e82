"""int8 encoders on an emulated Arm have the bits that they have here: part of `make test-neon`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sparse_ovs
from sparse_ovs import quantize
from sparse_ovs.profiling.random_weights import calibrate_random_weights

ROOT = Path(__file__).parents[2]
COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
# With and without dot products.
CPUS = ("max", "cortex-a72")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C example for Arm, against the library that the variable names."""
    library = os.environ.get("SPARSE_OVS_ARM_LIBRARY")
    if library is None or shutil.which(COMPILER) is None or shutil.which(EMULATOR) is None:
        pytest.skip(f"needs SPARSE_OVS_ARM_LIBRARY, {COMPILER} and {EMULATOR}")
    folder = Path(library).resolve().parent
    made = tmp_path_factory.mktemp("arm") / "run_plan"
    subprocess.run(
        [
            *(COMPILER, "-std=c11", f"-I{ROOT / 'csrc' / 'include'}"),
            *(str(ROOT / "examples" / "c" / "run_plan.c"), "-o", str(made)),
            *(f"-L{folder}", "-lsparse_ovs", f"-Wl,-rpath,{folder}"),
        ],
        check=True,
    )
    return made


def on_arm(program: Path, plan: Path, x: Tensor, cpu: str) -> np.ndarray:
    """All outputs, one after the other."""
    places = [str(plan.with_suffix(suffix)) for suffix in (".x", ".y")]
    x.numpy().tofile(places[0])
    height, width = map(str, x.shape[2:])
    emulated = [EMULATOR, "-cpu", cpu, "-L", "/usr/aarch64-linux-gnu", str(program)]
    subprocess.run([*emulated, str(plan), height, width, "2", *places], check=True, timeout=300)
    return np.fromfile(places[1], np.float32)


def encoder(name: str, x: Tensor) -> nn.Module:
    if name == "scenes-imp10":
        return sparse_ovs.create_backbone("scenes-RN50", pretrained="scenes-imp10")
    if name == "RN50, trained densities":
        backbone = sparse_ovs.create_backbone("RN50", density=0.1, profile="trained")
        calibrate_random_weights(backbone, x)
        return backbone
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    made: nn.Module = timm.create_model("efficientnet_lite0", features_only=True).eval()
    calibrate_random_weights(made, x)
    return made


@pytest.mark.parametrize("name", ["scenes-imp10", "RN50, trained densities", "efficientnet_lite0"])
def test_whole_encoders_have_the_same_bits_on_arm(program: Path, name: str, tmp_path: Path) -> None:
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model = encoder(name, x)
    fast = sparse_ovs.compile(
        model, x, 1, autotune=False, precision="int8", quantization=quantize(model, [x])
    )
    plan = tmp_path / "encoder.plan"
    fast.save(plan)
    here = np.concatenate([made.numpy().ravel() for made in fast(x)])
    assert np.isfinite(here).all()
    assert here.std() > 0
    for cpu in CPUS:
        assert np.array_equal(on_arm(program, plan, x, cpu), here), cpu
