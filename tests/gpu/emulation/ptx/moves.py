"""Moves, conversions and comparisons: mov, cvta, cvt, setp, selp."""

from __future__ import annotations

from .operands import Operands, vector
from .syntax import Instruction
from .table import writes
from .types import C_TYPES, PACKED, SIZES, bits_of, is_float, is_signed

_ROUNDINGS = {"rni": "nearbyint", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}
_ORDERED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_ORDERED |= {"lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
_UNORDERED = {"equ": "==", "neu": "!=", "ltu": "<", "leu": "<=", "gtu": ">", "geu": ">="}
_COMBINED = {"and": "&&", "or": "||", "xor": "!="}


@writes("mov")
def mov(g: Operands, i: Instruction) -> str:
    kind, (target, source) = i.parts[-1], i.operands
    if target.startswith("{"):
        parts = vector(target)
        bits = SIZES[kind] * 8 // len(parts)
        body = f"u64 whole=(u64){g.bits(source)};"
        body += "".join(
            g.assign(part, f"b{bits}", f"whole>>{n * bits}") for n, part in enumerate(parts)
        )
        return g.for_lanes(i, body)
    if source.startswith("{"):
        parts = vector(source)
        bits = SIZES[kind] * 8 // len(parts)
        joined = "|".join(
            f"((u64)({g.value(part, f'u{bits}')})<<{n * bits})" for n, part in enumerate(parts)
        )
        return g.for_lanes(i, g.assign(target, bits_of(kind), joined))
    if kind != "pred":
        kind = bits_of(kind)
    return g.for_lanes(i, g.assign(target, kind, g.value(source, kind)))


@writes("cvta", words="to global shared shared::cta local const param")
def convert_address(g: Operands, i: Instruction) -> str:
    """Generic addresses of shared memory lie from SHARED_WINDOW up; others are the host's own."""
    kind = i.parts[-1]
    shift = ""
    if {"shared", "shared::cta"} & set(i.parts):
        shift = "-SHARED_WINDOW" if "to" in i.parts else "+SHARED_WINDOW"
    return g.for_lanes(i, g.assign(i.operands[0], kind, g.value(i.operands[1], kind) + shift))


@writes("cvt", words="rna rz rni rzi rmi rpi sat satfinite relu")
def convert(g: Operands, i: Instruction) -> str:
    parts = i.parts
    kind, source = parts[-2], parts[-1]
    target = i.operands[0]
    unknown = {"rz", "satfinite", "relu"} & set(parts)
    if unknown:
        raise NotImplementedError(f"{', '.join(sorted(unknown))}")
    if kind in PACKED:
        write = {"f16": "float_to_half", "bf16": "float_to_bf16"}[PACKED[kind]]
        high, low = (g.value(operand, source) for operand in i.operands[1:3])
        return g.for_lanes(i, g.assign(target, "b32", f"(u32){write}({high})<<16|{write}({low})"))
    if kind == "tf32":
        rounded = f"round_to_tf32({g.value(i.operands[1], 'b32')})"
        return g.for_lanes(i, g.assign(target, "b32", rounded))
    value = g.value(i.operands[1], source)
    rounding = next((_ROUNDINGS[part] for part in parts if part in _ROUNDINGS), None)
    if is_float(source) and not is_float(kind):
        if rounding is None:
            raise NotImplementedError("a rounding")
        whole = f"{rounding}((double){value})"
        return g.for_lanes(i, g.assign(target, kind, f"saturate<{C_TYPES[kind]}>({whole})"))
    if is_float(source) and rounding is not None:
        return g.for_lanes(i, g.assign(target, kind, f"{rounding}((double){value})"))
    if "sat" in parts:
        if not is_float(kind):
            raise NotImplementedError("sat")
        value = f"fminf(fmaxf({value},0.f),1.f)"
    return g.for_lanes(i, g.assign(target, kind, value))


@writes("setp", words=" ".join([*_ORDERED, *_UNORDERED, *_COMBINED, "nan", "num"]))
def compare(g: Operands, i: Instruction) -> str:
    comparison, kind = i.parts[1], i.parts[-1]
    a, b = (g.value(operand, kind) for operand in i.operands[1:3])
    unordered = f"std::isnan({a})||std::isnan({b})"
    if comparison == "ne" and is_float(kind):  # Ordered in PTX: false where one is NaN.
        result = f"!({unordered})&&({a})!=({b})"
    elif comparison in _ORDERED:
        result = f"({a}){_ORDERED[comparison]}({b})"
    elif comparison in _UNORDERED:
        result = f"{unordered}||({a}){_UNORDERED[comparison]}({b})"
    else:
        result = unordered if comparison == "nan" else f"!({unordered})"
    combined = set(_COMBINED) & set(i.parts[2:])
    targets = [target.strip() for target in i.operands[0].split("|")]
    body = f"bool yes={result};"
    if not combined:
        body += g.assign(targets[0], "pred", "yes")
        body += g.assign(targets[1], "pred", "!yes") if len(targets) > 1 else ""
        return g.for_lanes(i, body)
    sign = _COMBINED[combined.pop()]
    body += f"bool also={g.value(i.operands[3], 'pred')};"
    body += g.assign(targets[0], "pred", f"yes{sign}also")
    body += g.assign(targets[1], "pred", f"(!yes){sign}also") if len(targets) > 1 else ""
    return g.for_lanes(i, body)


@writes("selp")
def select(g: Operands, i: Instruction) -> str:
    kind = bits_of(i.parts[-1])
    a, b = (g.value(operand, kind) for operand in i.operands[1:3])
    chosen = f"{g.value(i.operands[3], 'pred')}?{a}:{b}"
    return g.for_lanes(i, g.assign(i.operands[0], kind, chosen))


def widened(kind: str) -> str:
    """The type in which `ld` and `st` move bits: integers keep their sign, others have none."""
    return kind if is_signed(kind) or kind[0] == "u" else bits_of(kind)
