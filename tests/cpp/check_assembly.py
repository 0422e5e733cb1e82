"""Checks the machine code of one ISA's kernels: full-width FMAs, and sums that stay in registers.

    check_assembly.py OBJDUMP OBJECT ISA

Only looks at the code, so it runs where the CPU lacks the ISA. Exits with 1 and one line for each
fault; needs no package.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Isa:
    """What kernels.cpp and dense.h build for it."""

    register: str
    rows1: int  # widest kernels, in vectors
    rows4: int
    dense_pixels: int
    sampled1: int
    sampled4: int


ISAS = {"avx512": Isa("zmm", 16, 6, 12, 16, 6), "avx2": Isa("ymm", 14, 3, 6, 10, 2)}

# Inner loops may store no vector to the stack; they may read constants from there. In these kernels
# no vector may touch it anywhere: an array of sums that is indexed at run time is spilled around
# the loop, not in it.
ALL_IN_REGISTERS = ("rows1", "rows4", "dense", "depthwise")

FMA = re.compile(r"vfn?m(add|sub)\d+ps\b")
SUM = re.compile(r"v(add|sub)ps\b")
JUMP = re.compile(r"j\w+\s+([0-9a-f]+)")


@dataclass(frozen=True)
class Line:
    """One instruction, in AT&T syntax."""

    address: int
    text: str


@dataclass
class Function:
    """A kernel, or a part of one that was not inlined."""

    name: str  # without namespaces and arguments: rows1<3>
    lines: list[Line]

    @property
    def family(self) -> str:
        """The kernel that it belongs to: dense_tile<12> is of dense."""
        return re.sub(r"(_tile|_rest|_run|_some)?(<.*)?$", "", self.name)

    def loops(self) -> Iterator[list[Line]]:
        """Innermost loops: jumps back that enclose no other jump back."""
        spans = []
        for line in self.lines:
            jump = JUMP.match(line.text)
            if jump and int(jump[1], 16) <= line.address:
                spans.append((int(jump[1], 16), line.address))
        for first, last in spans:
            if not any(first <= a and b <= last and (a, b) != (first, last) for a, b in spans):
                yield [line for line in self.lines if first <= line.address <= last]

    def stack_moves(self) -> list[Line]:
        """Instructions that have a vector and the stack as operands."""
        framed = any(re.match(r"mov\s+%rsp,%rbp$", line.text) for line in self.lines)
        stack = re.compile(r"\(%r[sb]p\b" if framed else r"\(%rsp\b")
        return [x for x in self.lines if re.search(r"%[xyz]mm", x.text) and stack.search(x.text)]


def is_fma(line: Line) -> bool:
    """Whether it multiplies and adds vectors."""
    return FMA.match(line.text) is not None


def functions(listing: str) -> list[Function]:
    """The functions in what objdump -d -C prints."""
    found: list[Function] = []
    for text in listing.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.*)>:$", text):
            name = re.search(r"::(\w+(?:<\d+>)?)\(", head[1])
            found.append(Function(name[1] if name else head[1], []))
        elif code := re.match(r"\s*([0-9a-f]+):\s+(.*)", text):
            found[-1].lines.append(Line(int(code[1], 16), code[2].strip()))
    return found


def needed(isa: Isa) -> dict[str, int]:
    """Kernel, or one of its widths: FMAs that its widest innermost loop has at least."""
    fmas = {f"rows1<{k}>": k for k in range(1, isa.rows1 + 1)}
    for k in range(1, isa.rows4 + 1):
        fmas[f"rows4<{k}>"] = fmas[f"attend<{k}>"] = 4 * k
    planes = {"plane_moments": 4, "plane_products": 4, "plane_scale": 1}
    # The first vector of a dot product is multiplied only.
    for k in range(2, isa.sampled1 + 1):
        fmas[f"sampled1<{k}>"] = 4 * (k - 1)
    for k in range(2, isa.sampled4 + 1):
        fmas[f"sampled4<{k}>"] = 4 * (k - 1)
    # activate: the polynomials of exp alone.
    return {
        **fmas,
        "dense": 2 * isa.dense_pixels,
        "depthwise": 8,
        "deformable": 8,
        "layer_norm": 1,
        "activate": 6,
        **planes,
    }


# Winograd's transforms and the pools only add: whole functions, since loops over few pixels are
# unrolled. The products between Winograd's transforms are the dense kernel's.
SUMS = {"patch": 32, "quad": 16, "pool_row": 3, "atrous_pool_row": 3}


def faults(code: list[Function], isa: Isa) -> Iterator[str]:
    """One sentence for each fault."""
    full = re.compile(rf"%{isa.register}")
    for function in code:
        for line in function.lines:
            if is_fma(line) and not full.search(line.text):
                yield f"{function.name}: an FMA of less than {isa.register}: {line.text}"
    for kernel, wanted in needed(isa).items():
        parts = [f for f in code if kernel in (f.name, f.family)]
        counts = [
            sum(1 for x in loop if is_fma(x) and full.search(x.text))
            for f in parts
            for loop in f.loops()
        ]
        most = max(counts, default=0)
        if most < wanted:
            yield f"{kernel}: expected an inner loop of {wanted} {isa.register} FMAs, got {most}"
    for kernel, wanted in SUMS.items():
        lines = [x for f in code if f.family == kernel for x in f.lines if SUM.match(x.text)]
        most = sum(1 for x in lines if full.search(x.text))
        if most < wanted:
            yield f"{kernel}: expected {wanted} {isa.register} additions, got {most}"
    for function in code:
        moves = function.stack_moves()
        if function.family not in ALL_IN_REGISTERS:
            inner = [x for loop in function.loops() if any(map(is_fma, loop)) for x in loop]
            moves = [x for x in moves if x in inner and x.text.endswith(")")]  # it stores there
        if moves:
            first = moves[0].text
            yield f"{function.name}: {len(moves)} moves between vectors and the stack: {first}"


def main(objdump: str, path: str, name: str) -> int:
    """Prints what is wrong with the object."""
    command = [objdump, "-d", "-C", "--no-show-raw-insn", path]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    code = functions(listing)
    found = list(faults(code, ISAS[name]))
    for fault in found:
        print(fault)
    print(f"{name}: {len(code)} functions, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
