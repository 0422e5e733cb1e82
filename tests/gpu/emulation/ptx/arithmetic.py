"""Arithmetic: add, mul, fma, div, min, max and the special functions, single and packed."""

from __future__ import annotations

from collections.abc import Callable

from .operands import Operands
from .syntax import Instruction
from .table import writes
from .types import C_TYPES, PACKED, SIZES, is_float, is_signed

_FUNCTIONS = {
    "ex2": "exp2f({0})",
    "lg2": "log2f({0})",
    "rcp": "1/{0}",
    "sqrt": "sqrt({0})",
    "rsqrt": "1/sqrt({0})",
    "sin": "sinf({0})",
    "cos": "cosf({0})",
    "tanh": "tanhf({0})",
}


def _apply(
    g: Operands, i: Instruction, expression: Callable[..., str], count: int, kind: str
) -> str:
    """`target = expression(sources)`; for packed types in each half."""
    target, sources = i.operands[0], i.operands[1 : 1 + count]
    if kind not in PACKED:
        result = expression(*(g.value(source, kind) for source in sources))
        return g.for_lanes(i, g.assign(target, kind, result))
    half = PACKED[kind]
    read, write = {
        "f16": ("half_to_float", "float_to_half"),
        "bf16": ("bf16_to_float", "float_to_bf16"),
    }[half]
    halves = []
    for shift in (0, 16):
        values = [f"{read}((u16)({g.value(source, 'b32')}>>{shift}))" for source in sources]
        halves.append(f"(u32){write}((float)({expression(*values)}))<<{shift}")
    return g.for_lanes(i, g.assign(target, "b32", "|".join(halves)))


@writes("add", "sub")
def add(g: Operands, i: Instruction) -> str:
    kind = i.parts[-1]
    sign = "+" if i.parts[0] == "add" else "-"
    if is_float(kind) or kind in PACKED:
        return _apply(g, i, lambda a, b: f"({a}){sign}({b})", 2, kind)
    wrapping = C_TYPES["u" + kind[1:]]  # Signed overflow is undefined in C++, not in PTX.
    return _apply(g, i, lambda a, b: f"({wrapping})({a}){sign}({wrapping})({b})", 2, kind)


@writes("mul", words="lo hi wide")
def mul(g: Operands, i: Instruction) -> str:
    kind = i.parts[-1]
    if is_float(kind) or kind in PACKED:
        return _apply(g, i, lambda a, b: f"({a})*({b})", 2, kind)
    a, b = (g.value(operand, kind) for operand in i.operands[1:3])
    if "wide" in i.parts:
        wide = f"{kind[0]}{2 * int(kind[1:])}"
        product = f"({C_TYPES[wide]})({a})*({C_TYPES[wide]})({b})"
        return g.for_lanes(i, g.assign(i.operands[0], wide, product))
    if "hi" in i.parts:
        wide = "__int128" if is_signed(kind) else "unsigned __int128"
        product = f"(({wide})({a})*({b}))>>{SIZES[kind] * 8}"
    else:
        product = f"(u64)({a})*(u64)({b})"
    return g.for_lanes(i, g.assign(i.operands[0], kind, product))


@writes("mad", words="lo wide")
def mad(g: Operands, i: Instruction) -> str:
    kind = i.parts[-1]
    if is_float(kind):
        return fma(g, i)
    result = f"{kind[0]}{2 * int(kind[1:])}" if "wide" in i.parts else kind
    a, b = (g.value(operand, kind) for operand in i.operands[1:3])
    signed = "s64" if is_signed(kind) else "u64"
    total = f"(u64)({signed})({a})*(u64)({signed})({b})+(u64)({g.value(i.operands[3], result)})"
    return g.for_lanes(i, g.assign(i.operands[0], result, total))


@writes("fma", words="relu")
def fma(g: Operands, i: Instruction) -> str:
    kind = i.parts[-1]
    if "relu" in i.parts:
        if kind not in PACKED and kind not in PACKED.values():
            raise NotImplementedError("relu")
        return _apply(g, i, lambda a, b, c: f"relu((float)((double)({a})*({b})+({c})))", 3, kind)
    if kind in ("f32", "f64"):
        return _apply(g, i, lambda a, b, c: f"std::fma({a},{b},{c})", 3, kind)
    return _apply(g, i, lambda a, b, c: f"(float)((double)({a})*({b})+({c}))", 3, kind)


@writes("div", "rem")
def div(g: Operands, i: Instruction) -> str:
    kind = i.parts[-1]
    if is_float(kind):
        return _apply(g, i, lambda a, b: f"({a})/({b})", 2, kind)
    sign = "/" if i.parts[0] == "div" else "%"
    c = C_TYPES[kind]
    return _apply(g, i, lambda a, b: f"({b})==0?({c})-1:({c})(({a}){sign}({b}))", 2, kind)


@writes("min", "max", words="NaN")
def minimum(g: Operands, i: Instruction) -> str:
    opcode, kind = i.parts[0], i.parts[-1]
    if not (is_float(kind) or kind in PACKED):
        return _apply(g, i, lambda a, b: f"std::{opcode}({a},{b})", 2, kind)
    function = f"std::f{opcode}"
    if "NaN" in i.parts:
        return _apply(
            g,
            i,
            lambda a, b: f"std::isnan({a})?{a}:std::isnan({b})?{b}:{function}({a},{b})",
            2,
            kind,
        )
    return _apply(g, i, lambda a, b: f"{function}({a},{b})", 2, kind)


@writes("neg")
def neg(g: Operands, i: Instruction) -> str:
    return _apply(g, i, lambda a: f"-({a})", 1, i.parts[-1])


@writes("abs")
def absolute(g: Operands, i: Instruction) -> str:
    kind = i.parts[-1]
    function = "fabs" if is_float(kind) or kind in PACKED else "std::abs"
    return _apply(g, i, lambda a: f"{function}({a})", 1, kind)


@writes("copysign")
def copysign(g: Operands, i: Instruction) -> str:
    # PTX takes the sign of the first operand, C of the second.
    return _apply(g, i, lambda a, b: f"std::copysign({b},{a})", 2, i.parts[-1])


@writes(*_FUNCTIONS)
def special_function(g: Operands, i: Instruction) -> str:
    return _apply(g, i, lambda a: _FUNCTIONS[i.parts[0]].format(f"({a})"), 1, i.parts[-1])
