"""Bits: and, shifts, fields, permutes, counts."""

from __future__ import annotations

from .operands import Operands
from .syntax import Instruction
from .table import writes
from .types import SIZES, is_signed


@writes("and", "or", "xor")
def bitwise(g: Operands, i: Instruction) -> str:
    kind, sign = i.parts[-1], {"and": "&", "or": "|", "xor": "^"}[i.parts[0]]
    a, b = (g.value(operand, kind) for operand in i.operands[1:3])
    return g.for_lanes(i, g.assign(i.operands[0], kind, f"({a}){sign}({b})"))


@writes("not")
def invert(g: Operands, i: Instruction) -> str:
    kind = i.parts[-1]
    sign = "!" if kind == "pred" else "~"
    return g.for_lanes(i, g.assign(i.operands[0], kind, sign + g.value(i.operands[1], kind)))


@writes("shl", "shr")
def shift(g: Operands, i: Instruction) -> str:
    kind = i.parts[-1]
    bits = SIZES[kind] * 8
    value, by = g.value(i.operands[1], kind), g.value(i.operands[2], "u32")
    if i.parts[0] == "shl":
        result = f"{by}>={bits}?0:(u64){value}<<({by}&{bits - 1})"
    elif is_signed(kind):
        result = f"{value}>>std::min<u32>({by},{bits - 1})"
    else:
        result = f"{by}>={bits}?0:{value}>>({by}&{bits - 1})"
    return g.for_lanes(i, g.assign(i.operands[0], kind, result))


@writes("shf", words="l r wrap clamp")
def funnel_shift(g: Operands, i: Instruction) -> str:
    low, high, by = (g.value(operand, "u32") for operand in i.operands[1:4])
    by = f"{by}&31" if "wrap" in i.parts else f"std::min({by},32u)"
    result = "(both<<by)>>32" if "l" in i.parts else "both>>by"
    return g.for_lanes(
        i,
        f"u64 both=(u64)({low})|(u64)({high})<<32;u32 by={by};"
        + g.assign(i.operands[0], "b32", result),
    )


@writes("bfe")
def extract_field(g: Operands, i: Instruction) -> str:
    kind = i.parts[-1]
    value = g.value(i.operands[1], "u" + kind[1:])
    start, length = (g.value(operand, "u32") for operand in i.operands[2:4])
    signed = "true" if is_signed(kind) else "false"
    field = f"extract_field({value},{start}&255,{length}&255,{SIZES[kind] * 8},{signed})"
    return g.for_lanes(i, g.assign(i.operands[0], kind, field))


@writes("bfi")
def insert_field(g: Operands, i: Instruction) -> str:
    kind = i.parts[-1]
    field, into = (g.value(operand, kind) for operand in i.operands[1:3])
    start, length = (g.value(operand, "u32") for operand in i.operands[3:5])
    result = f"insert_field({field},{into},{start}&255,{length}&255)"
    return g.for_lanes(i, g.assign(i.operands[0], kind, result))


@writes("prmt")
def permute_bytes(g: Operands, i: Instruction) -> str:
    a, b, selector = (g.value(operand, "b32") for operand in i.operands[1:4])
    return g.for_lanes(i, g.assign(i.operands[0], "b32", f"permute_bytes({a},{b},{selector})"))


@writes("lop3")
def logic3(g: Operands, i: Instruction) -> str:
    a, b, c, table = (g.value(operand, "b32") for operand in i.operands[1:5])
    return g.for_lanes(i, g.assign(i.operands[0], "b32", f"logic3({a},{b},{c},{table})"))


@writes("popc", "clz", "brev")
def count_bits(g: Operands, i: Instruction) -> str:
    kind = i.parts[-1]
    value, bits = g.value(i.operands[1], kind), SIZES[kind] * 8
    if i.parts[0] == "brev" and bits != 32:
        raise NotImplementedError(kind)
    result = {
        "popc": f"__builtin_popcountll({value})",
        "clz": f"({value}==0?{bits}:__builtin_clzll((u64){value})-{64 - bits})",
        "brev": f"reverse_bits({value})",
    }[i.parts[0]]
    return g.for_lanes(i, g.assign(i.operands[0], "b32", result))
