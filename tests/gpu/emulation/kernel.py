"""An emulated kernel: PTX in, launches on CPU tensors out, with checks and exact counters."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from torch import Tensor

from .cache import compile_shared
from .ptx.syntax import Param, entry_names, select_entry
from .ptx.translate import translate
from .ranges import reachable

_TEXT_BYTES = 8192


class EmulatedFault(RuntimeError):
    """A kernel did what the hardware forbids or does not order; one finding a line."""


@dataclass(frozen=True)
class Counters:
    """What a launch did, exactly and the same on every machine.

    Instructions and requests are those of warps. Sectors are of 32 bytes; wavefronts are passes
    over the banks of shared memory (one a request is free of conflicts for up to 4 bytes a lane).
    """

    warp_instructions: int
    divergent_instructions: int  # with some lanes inactive
    matrix_products: int
    tensor_flops: int
    load_requests: int
    load_sectors: int
    store_requests: int
    store_sectors: int
    shared_load_requests: int
    shared_load_wavefronts: int
    shared_store_requests: int
    shared_store_wavefronts: int
    async_bytes: int  # copied by cp.async
    global_bytes: int  # asked for by lanes, loads and stores
    barriers: int
    races: int

    @property
    def sectors_per_load(self) -> float:
        """4 for 4 bytes a lane without gaps, 16 for 16 bytes a lane."""
        return self.load_sectors / max(1, self.load_requests)

    @property
    def sectors_per_store(self) -> float:
        return self.store_sectors / max(1, self.store_requests)

    @property
    def wavefronts_per_shared_load(self) -> float:
        return self.shared_load_wavefronts / max(1, self.shared_load_requests)

    @property
    def wavefronts_per_shared_store(self) -> float:
        return self.shared_store_wavefronts / max(1, self.shared_store_requests)

    def instructions_per_mflop(self, useful_flops: float) -> float:
        """Warp instructions for each million of FLOPs that the result needs (1 MAC = 2 FLOPs)."""
        return self.warp_instructions / useful_flops * 1e6


_COUNTER_NAMES = [field.name for field in fields(Counters)]


class Kernel:
    """A kernel of a PTX text, translated to C++ and compiled (seconds, kept by hash).

    Args:
        ptx: of `nvcc`, NVRTC or Triton.
        name: of the kernel, where the text has several.

    Raises:
        ValueError: where there is no such kernel.
        NotImplementedError: for an instruction that the emulator does not know.
    """

    def __init__(self, ptx: str, name: str | None = None) -> None:
        if name is not None and len(entry_names(ptx)) > 1:
            ptx = select_entry(ptx, name)
        self.program, source = translate(ptx)
        if name is not None and self.program.name != name:
            raise ValueError(f"expected a kernel {name!r}, got {self.program.name!r}")
        self._library = ctypes.CDLL(str(compile_shared(source)))

    def launch(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Tensor | int | float],
        dynamic_shared: int = 0,
        *,
        further: Iterable[Tensor] = (),
        seed: int = 0,
        check_races: bool = True,
        check_bounds: bool = True,
    ) -> Counters:
        """Runs the kernel to its end.

        Args:
            grid, block: one to three sizes.
            args: the kernel's parameters: CPU tensors for pointers, and numbers.
            dynamic_shared: bytes, after the static ones.
            further: tensors that the kernel finds through pointers in memory.
            seed: 0 runs blocks and warps in order, others shuffle both.

        Raises:
            EmulatedFault: for an access out of bounds or misaligned, a race in shared memory, a
                copy that nobody waited for, a barrier or shuffle in divergent code.
            ValueError: for the wrong number of arguments.
        """
        ranges = [bound for pair in reachable([*args, *further]) for bound in pair]
        counters = (ctypes.c_uint64 * len(_COUNTER_NAMES))()
        text = ctypes.create_string_buffer(_TEXT_BYTES)
        three = ctypes.c_uint32 * 3
        fault = self._library.launch(
            three(*_three(grid)),
            three(*_three(block)),
            self._pack(args),
            ctypes.c_uint64(dynamic_shared),
            (ctypes.c_uint64 * max(1, len(ranges)))(*ranges),
            len(ranges) // 2,
            check_races | check_bounds << 1 | 4,
            seed,
            counters,
            text,
            _TEXT_BYTES,
        )
        findings = text.value.decode().strip()
        if fault or findings:
            raise EmulatedFault(f"{self.program.name}: {findings}")
        return Counters(**dict(zip(_COUNTER_NAMES, counters, strict=True)))

    def _pack(self, args: Sequence[Tensor | int | float]) -> bytes:
        params = self.program.params.values()
        if len(args) != len(params):
            raise ValueError(f"expected {len(params)} arguments, got {len(args)}")
        packed = bytearray(self.program.param_bytes)
        for param, arg in zip(params, args, strict=True):
            packed[param.offset : param.offset + param.size] = _bytes_of(arg, param)
        return bytes(packed)


def _bytes_of(arg: Tensor | int | float, param: Param) -> bytes:
    if isinstance(arg, Tensor):
        arg = arg.data_ptr()
    if param.is_float or isinstance(arg, float):
        return struct.pack({8: "<d", 4: "<f"}[param.size], arg)
    return (arg & ((1 << (8 * param.size)) - 1)).to_bytes(param.size, "little")


def _three(sizes: Sequence[int]) -> list[int]:
    return [*sizes, 1, 1][:3]
