"""A program as one C++ file for the runtime: its registers, its blocks, its constants."""

from __future__ import annotations

# The families enter their instructions into the table.
from . import arithmetic, logic, memory, moves, tensor_core, warp  # noqa: F401
from .operands import Operands, constant_name, set_name, single_name
from .syntax import Instruction, Program, parse
from .table import write
from .types import SIZES


def translate(ptx: str) -> tuple[Program, str]:
    """The only kernel of a PTX text and its C++.

    Raises:
        NotImplementedError: for what the emulator does not know, with the line in the PTX.
    """
    program = parse(ptx)
    g = Operands(program)
    count = len(program.blocks)
    lines = [
        f"// {program.name}",
        f"#define STATIC_SHARED {-(-program.shared_bytes // 16) * 16}",
        f"#define LOCAL_BYTES {max(program.local_bytes, 16)}",
        f"#define SHADOW_BYTES {_shadow_bytes(program)}",
        '#include "warp.h"',
        '#include "memory.h"',
        '#include "tensor_core.h"',
        *(_define(name, data) for name, data in program.constants.items()),
        f"static const std::vector<std::pair<u64,u64>> CONSTANTS={{{_spans(program)}}};",
        "struct Registers:Warp{",
        *(_declare(name, *kind) for name, kind in program.registers.items()),
        "};",
        "typedef Outcome(*BlockFunction)(Registers&,u32);",
    ]
    for number, block in enumerate(program.blocks):
        lines += _write_block(g, number, block)
    for whole, table in (("true", "WHOLE"), ("false", "PARTIAL")):
        names = ",".join(f"block{n}<{whole}>" for n in range(count))
        lines.append(f"static const BlockFunction {table}[]={{{names}}};")
    lines += [f"static const u32 BLOCKS={count};", '#include "launch.h"']
    return program, "\n".join(lines) + "\n"


def _declare(name: str, c_type: str, count: int) -> str:
    if count:
        return f"{c_type} {set_name(name)}[{count}][32];"
    return f"{c_type} {single_name(name)}[32];"


def _define(name: str, data: bytes) -> str:
    return f"alignas(16) static u8 {constant_name(name)}[]={{{','.join(map(str, data))}}};"


def _spans(program: Program) -> str:
    """First byte and one past the last of each array of the file."""
    names = (constant_name(name) for name in program.constants)
    return ",".join(f"{{(u64){name},(u64){name}+sizeof {name}}}" for name in names)


def _shadow_bytes(program: Program) -> int:
    """Bytes of shared memory that race checks tell apart: one where single bytes are written."""
    stores = (i for block in program.blocks for i in block if i.op.startswith("st."))
    return 1 if any(SIZES[i.parts[-1]] == 1 for i in stores) else 2


def _write_block(g: Operands, number: int, block: list[Instruction]) -> list[str]:
    lines = [f"template<bool EVERY_LANE> static Outcome block{number}(Registers&w,u32 m){{"]
    lines.append(f"count_instructions(w,{len(block)},EVERY_LANE);")
    *body, last = block if block and block[-1].ends_block else [*block, None]
    lines += [write(g, i) for i in body if i is not None]
    lines.append(_write_end(g, last, number + 1) + "}")
    return lines


def _write_end(g: Operands, i: Instruction | None, after: int) -> str:
    """The end of a block: a branch, an exit, a barrier, or the next block."""
    if i is None:
        return f"LANES w.pc[l]={after};return Outcome::go_on;"
    condition = g.guard(i).removeprefix("if")
    opcode = i.parts[0]
    if opcode == "bra":
        if i.operands[0] not in g.program.labels:
            raise NotImplementedError(f"branch to {i.operands[0]}, ptx line {i.line}")
        target = str(g.program.labels[i.operands[0]])
        target = f"{condition}?{target}:{after}" if condition else target
        return f"LANES w.pc[l]={target};return Outcome::go_on;"
    if opcode in ("ret", "exit"):
        if not condition:
            return "w.live&=~m;return Outcome::done;"
        return (
            f"u32 leaving=0;LANES{{if{condition}leaving|=1u<<l;w.pc[l]={after};}}"
            "w.live&=~leaving;return Outcome::go_on;"
        )
    if i.guard is not None or i.operands != ("0",):
        raise NotImplementedError(f"{i.op} of some warps only, ptx line {i.line}")
    return f"LANES w.pc[l]={after};return reach_barrier(w,m,{i.line});"
