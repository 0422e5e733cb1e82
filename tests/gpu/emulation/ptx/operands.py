"""Operands of a program as C++ expressions: registers, immediates, symbols, special registers."""

from __future__ import annotations

import re

from .syntax import Instruction, Program
from .types import C_TYPES, PACKED, SIZES, is_signed

SPECIAL = {
    "%laneid": "(u32)l",
    "%warpid": "(u32)w.id",
    "%lanemask_lt": "((1u<<l)-1)",
    "%clock": "0u",
    "%clock64": "0ull",
}
for _axis, _name in enumerate("xyz"):
    SPECIAL[f"%tid.{_name}"] = f"thread_index(w,l,{_axis})"
    SPECIAL[f"%ctaid.{_name}"] = f"w.block->index[{_axis}]"
    SPECIAL[f"%ntid.{_name}"] = f"w.block->threads[{_axis}]"
    SPECIAL[f"%nctaid.{_name}"] = f"w.block->grid[{_axis}]"

#: C++ that reads a floating-point value out of its bits, and back.
_FROM_BITS = {
    "f16": "half_to_float({})",
    "bf16": "bf16_to_float({})",
    "f32": "bits_to_float((u32){})",
    "f64": "bits_to_double({})",
}
_TO_BITS = {
    "f16": "float_to_half((float)({}))",
    "bf16": "float_to_bf16((float)({}))",
    "f32": "float_to_bits((float)({}))",
    "f64": "double_to_bits((double)({}))",
}


class Operands:
    """C++ for the operands of one program; in it `w` is the warp, `l` the lane."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def register(self, name: str) -> tuple[str, str] | None:
        """(C++ name of the 32 lanes, C++ type), or None where `name` is no register."""
        registers = self.program.registers
        if name in registers and registers[name][1] == 0:
            return f"w.{single_name(name)}", registers[name][0]
        numbered = re.match(r"(.*\D)(\d+)$", name)
        if numbered and registers.get(numbered[1], ("", 0))[1] > int(numbered[2]):
            return f"w.{set_name(numbered[1])}[{numbered[2]}]", registers[numbered[1]][0]
        return None

    def lanes(self, name: str) -> str:
        """The C++ array of a register's 32 lanes."""
        register = self.register(name)
        if register is None:
            raise NotImplementedError(f"{name} where a register is expected")
        return register[0]

    def bits(self, operand: str) -> str:
        """The operand's bits in lane `l`, as an unsigned expression."""
        program = self.program
        register = self.register(operand)
        if register is not None:
            return f"{register[0]}[l]"
        if operand in SPECIAL:
            return SPECIAL[operand]
        if operand == "_":
            return "0"
        if re.fullmatch(r"0[fF][0-9a-fA-F]{8}", operand):
            return f"0x{operand[2:]}u"
        if re.fullmatch(r"0[dD][0-9a-fA-F]{16}", operand):
            return f"0x{operand[2:]}ull"
        if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", operand):
            return f"((s64){operand.rstrip('U')}ll)"
        if operand in program.shared:
            return f"((u64){program.shared[operand]})"
        if operand in program.constants:
            return f"((u64){constant_name(operand)})"
        if operand == program.dynamic_shared:
            return "((u64)STATIC_SHARED)"
        if operand == program.local and operand is not None:
            return "((u64)(w.local+l*LOCAL_BYTES))"
        raise NotImplementedError(f"operand {operand}")

    def value(self, operand: str, kind: str) -> str:
        """The operand in lane `l` as a C++ value of the type `kind`."""
        if kind in PACKED:
            raise NotImplementedError(f"{kind} in an instruction that knows single numbers only")
        if kind == "pred":
            negated = operand.startswith("!")
            return f"({self.bits(operand.lstrip('!'))}{'==' if negated else '!='}0)"
        if kind in _FROM_BITS:
            return _FROM_BITS[kind].format(self.bits(operand))
        if kind not in C_TYPES:
            raise NotImplementedError(f"values of type {kind}")
        return f"({C_TYPES[kind]}){self.bits(operand)}"

    def assign(self, target: str, kind: str, expression: str) -> str:
        """C++ that writes a value of the type `kind` into lane `l` of a register."""
        if target == "_":
            return f"(void)({expression});"
        register = self.register(target)
        if register is None:
            raise NotImplementedError(f"{target} where a register is expected")
        if kind in _TO_BITS:
            expression = _TO_BITS[kind].format(expression)
        elif kind == "pred":
            expression = f"(u8)(bool)({expression})"
        elif kind in C_TYPES:
            expression = f"({C_TYPES[kind]})({expression})"
            if is_signed(kind) and SIZES[kind] < int(register[1][1:]) // 8:
                expression = f"(s64)({expression})"  # A wider register takes the sign along.
        else:
            raise NotImplementedError(f"results of type {kind}")
        return f"{register[0]}[l]=({register[1]})({expression});"

    def guard(self, instruction: Instruction) -> str:
        """`if(...)` for a guarded instruction, else nothing."""
        if instruction.guard is None:
            return ""
        sign = "!" if instruction.guard.negated else ""
        return f"if({sign}{self.lanes(instruction.guard.register)}[l])"

    def for_lanes(self, instruction: Instruction, body: str) -> str:
        """`body` for each active lane whose guard holds."""
        return f"LANES{{{self.guard(instruction)}{{{body}}}}}"

    def gather(self, array: str, expression: str) -> str:
        """A C++ array of 32 with the expression of each active lane."""
        return f"u32 {array}[32]={{}};LANES {array}[l]=(u32)({expression});"


def single_name(name: str) -> str:
    """The C++ name of a register declared alone."""
    return "single_" + re.sub(r"\W", "_", name)


def constant_name(name: str) -> str:
    """The C++ name of an array of the file."""
    return "constant_" + re.sub(r"\W", "_", name)


def set_name(name: str) -> str:
    """The C++ name of a numbered set of registers."""
    return re.sub(r"\W", "set_", name)


def vector(operand: str) -> list[str]:
    """The elements of `{a, b}`, or the operand alone."""
    if not operand.startswith("{"):
        return [operand]
    return [element.strip() for element in operand.strip()[1:-1].split(",")]


def address(operand: str) -> tuple[str, int]:
    """(base, offset in bytes) of `[base+offset]`."""
    match = re.fullmatch(r"\[\s*([^+\]]+?)\s*(?:\+\s*(-?\w+))?\s*\]", operand)
    if match is None:
        raise NotImplementedError(f"address {operand}")
    return match[1], int(match[2], 0) if match[2] else 0
