"""Lower bounds on the time of an encoder's layers, by kernel (`python -m gpu.bound_report` prints).

The layers are emulated whole, their work is counted, and public peak rates bound the time. They are
no measurements: no kernel comes as low, and some stay far above. Activations and weights are taken
to come from DRAM and go there, once; what is still in L2 from the layer before comes faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gpu.cuda.emulated import machine_code, run
from gpu.emulation.aot import read_compiled
from gpu.emulation.bound import LowerBound, lower_bound
from gpu.emulation.triton_driver import emulating
from gpu.encoder_layers import LAYERS, Layer
from gpu.evidence.shipped import csr_variant, dtype_name
from gpu.kernels.bsr_problems import Variant, nhwc
from sparse_ovs.formats import pack_bsr, to_csr, to_two_four
from sparse_ovs.kernels import bsr_conv2d
from sparse_ovs.ops.cuda import TILES, Tile, csr_conv2d, sp24_conv2d
from support.oracles import random_mask

HALF, SINGLE = torch.float16, torch.float32
DENSITY = 0.1


@dataclass(frozen=True)
class Row:
    """A kernel on a layer, bounded for one architecture."""

    kernel: str
    variant: str
    layer: Layer
    bound: LowerBound
    dense_seconds: float  # of the dense layer in the same number format

    def __str__(self) -> str:
        return (
            f"{self.kernel} {self.variant} | {self.layer} | "
            f"{self.bound.seconds * 1e6:.1f} us by {self.bound.limit} | "
            f"{self.dense_seconds * 1e6:.1f} us"
        )


def _row(kernel: str, variant: str, layer: Layer, bound: LowerBound, tensor_format: str) -> Row:
    return Row(kernel, variant, layer, bound, layer.dense_seconds(bound.arch, tensor_format))


@dataclass(frozen=True)
class Bsr:
    """`bsr_conv2d` forward with a share of random blocks."""

    variant: Variant

    kernel = "bsr_conv2d"

    def variant_on(self, layer: Layer) -> str:
        return self.variant.of("forward")

    def row(self, layer: Layer, arch: int) -> Row:
        v = self.variant
        mask = random_mask(layer.shape, DENSITY, f"block{v.block[0]}x{v.block[1]}")
        bsr = pack_bsr(torch.zeros(layer.shape, dtype=v.dtype), mask, v.block)
        x = nhwc(torch.zeros(1, layer.channels, layer.size, layer.size, dtype=v.dtype))
        with emulating(arch) as gpu:
            bsr_conv2d.forward(
                x,
                bsr.values,
                bsr.row_ptr,
                bsr.taps,
                bsr.channels,
                layer.out_channels,
                (layer.kernel, layer.kernel),
                padding=layer.padding,
                precision=v.precision,
            )
        (launch,) = gpu.launches
        compiled = read_compiled(launch.compiled)
        programs = launch.grid[0]
        tiles = programs // -(-layer.out_channels // v.block[0])
        # Every program runs its main loop once for each block of its block row.
        issued = tiles * bsr.values.shape[0] * len(compiled.code.main_loop) * compiled.warps
        tensor_format = "tf32" if v.dtype == SINGLE else "fp16"
        bound = lower_bound(
            arch,
            launch.counters,
            programs,
            layer.activation_bytes(x.element_size()) + _bytes(bsr.values),
            tensor_format=tensor_format,
            issued_instructions=issued,
        )
        return _row("bsr_conv2d", self.variant_on(layer), layer, bound, tensor_format)


@dataclass(frozen=True)
class Sp24:
    """`sp24_residue`, a random mask."""

    tile: Tile
    kernel = "sp24_residue"

    def variant_on(self, layer: Layer) -> str:
        kind = "conv" if layer.kernel > 1 else "linear"
        return f"forward {kind} float16 {self.tile.rows}x{self.tile.pixels}"

    def row(self, layer: Layer, arch: int) -> Row:
        mask = random_mask(layer.shape, DENSITY)
        weight = to_two_four(torch.zeros(layer.shape, dtype=HALF), mask, HALF)
        x = nhwc(torch.zeros(1, layer.channels, layer.size, layer.size, dtype=HALF))
        launched = sp24_conv2d(x, weight, padding=layer.padding, tile=self.tile)
        launch = launched[0]
        _, counters = run(launched, arch=arch)
        blocks = launch.grid[0] * launch.grid[1]
        loop = machine_code(launch, arch).main_loop
        bound = lower_bound(
            arch,
            counters,
            blocks,
            layer.activation_bytes(2) + _bytes(weight.values, weight.metadata),
            tensor_format="fp16 2:4",
            issued_instructions=blocks * weight.steps * len(loop) * launch.threads // 32,
        )
        return _row("sp24_residue", self.variant_on(layer), layer, bound, "fp16")


@dataclass(frozen=True)
class Csr:
    """`csr_direct`, a random mask."""

    dtype: torch.dtype
    kernel = "csr_direct"

    def variant_on(self, layer: Layer) -> str:
        vector = 16 // self.dtype.itemsize if layer.kernel == 1 else 1
        return csr_variant(layer.kernel == 1, self.dtype, vector, 8 // vector)

    def row(self, layer: Layer, arch: int) -> Row:
        mask = random_mask(layer.shape, DENSITY)
        weight = to_csr(torch.zeros(layer.shape, dtype=self.dtype), mask)
        x = torch.zeros(1, layer.channels, layer.size, layer.size, dtype=self.dtype)
        launched = csr_conv2d(x, weight, padding=layer.padding)
        launch = launched[0]
        d = launch.defines
        shipped = csr_variant(bool(d["POINTWISE"]), self.dtype, d["VECTOR"], d["RUNS"])
        assert shipped == self.variant_on(layer)
        _, counters = run(launched, arch=arch)
        flops = 2.0 * int(mask.sum()) * layer.size**2
        itemsize = self.dtype.itemsize
        bound = lower_bound(
            arch,
            counters,
            launch.grid[0] * launch.grid[1],
            layer.activation_bytes(itemsize) + _bytes(weight.values, weight.columns),
            fp32_flops=flops,
        )
        tensor_format = "fp32" if self.dtype == SINGLE else "fp16"
        return _row("csr_direct", self.variant_on(layer), layer, bound, tensor_format)


KERNELS = {
    **{
        f"bsr_conv2d {variant}": Bsr(variant)
        for variant in (
            Variant((64, 64), HALF),
            Variant((32, 32), HALF),
            Variant((16, 64), HALF),
            Variant((16, 16), HALF),
            Variant((64, 64), SINGLE),
            Variant((32, 32), SINGLE),
        )
    },
    **{f"sp24_residue float16 {tile.rows}x{tile.pixels}": Sp24(tile) for tile in TILES},
    **{f"csr_direct {dtype_name(dtype)}": Csr(dtype) for dtype in (SINGLE, HALF)},
}


def table(arch: int) -> Iterator[str]:
    """Lines of Markdown."""
    yield "| kernel | layer | no faster than | dense, same format: no faster than |"
    yield "| --- | --- | --- | --- |"
    for kernel in KERNELS.values():
        for layer in LAYERS:
            yield f"| {kernel.row(layer, arch)} |"


def _bytes(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


if __name__ == "__main__":
    for arch in (80, 90):
        print(f"\nsm_{arch}, density {DENSITY}: lower bounds, not measurements", flush=True)
        for line in table(arch):
            print(line, flush=True)
