"""Tensor cores and what feeds them: mma, mma.sp, wgmma, ldmatrix, stmatrix."""

from __future__ import annotations

import re

from .operands import Operands, address, vector
from .syntax import Instruction
from .table import refuse_guard, writes

_FORMATS = {"f16": "Format::f16", "bf16": "Format::bf16", "tf32": "Format::tf32"}
_SHAPES = "m16n8k8 m16n8k16 m16n8k32 m8n8 b16 x1 x2 x4 trans row col"


def _sources(g: Operands, operand: str) -> str:
    return "{" + ",".join(g.lanes(name) for name in vector(operand)) + "}"


def _targets(g: Operands, operand: str) -> str:
    return "{" + ",".join("&" + g.lanes(name) for name in vector(operand)) + "}"


def _bool(value: bool) -> str:
    return "true" if value else "false"


@writes("ldmatrix", words=f"{_SHAPES} shared shared::cta")
def load_matrix(g: Operands, i: Instruction) -> str:
    refuse_guard(i)
    base, offset = address(i.operands[1])
    rows = g.gather("rows", f"shared_offset((u64){g.bits(base)}+({offset}ll))")
    count = len(vector(i.operands[0]))
    return (
        f"{{{rows}u32 (*targets[])[32]={_targets(g, i.operands[0])};"
        f"load_matrices(w,m,{count},{_bool('trans' in i.parts)},targets,rows,{i.line});}}"
    )


@writes("stmatrix", words=f"{_SHAPES} shared shared::cta")
def store_matrix(g: Operands, i: Instruction) -> str:
    refuse_guard(i)
    base, offset = address(i.operands[0])
    rows = g.gather("rows", f"shared_offset((u64){g.bits(base)}+({offset}ll))")
    count = len(vector(i.operands[1]))
    return (
        f"{{{rows}const u32*sources[]={_sources(g, i.operands[1])};"
        f"store_matrices(w,m,{count},{_bool('trans' in i.parts)},sources,rows,{i.line});}}"
    )


@writes("mma", words=f"{_SHAPES} sp sp::ordered_metadata satfinite")
def multiply(g: Operands, i: Instruction) -> str:
    """mma.sync: D = A B + C in the fragments' layout of the PTX manual."""
    refuse_guard(i)
    shape = next(part for part in i.parts if re.fullmatch(r"m\d+n\d+k\d+", part))
    accumulator, kind = i.parts[-4], i.parts[-3]
    # C may be immediate zeros, and may be the same registers as D.
    d, a, b, c = i.operands[:4]
    prepared = f"need_whole_warp(m,{i.line});"
    names = []
    for n, operand in enumerate(vector(c)):
        prepared += g.gather(f"c{n}", g.bits(operand))
        names.append(f"c{n}")
    prepared += (
        f"u32 (*d[])[32]={_targets(g, d)};const u32*a[]={_sources(g, a)};"
        f"const u32*b[]={_sources(g, b)};const u32*c[]={{{','.join(names)}}};"
    )
    if any(part.startswith("sp") for part in i.parts):
        if shape != "m16n8k32" or kind not in ("f16", "bf16") or accumulator != "f32":
            raise NotImplementedError("this shape")
        if not re.fullmatch(r"0x[01]|[01]", i.operands[5]):
            raise NotImplementedError("this selector")
        ordered = _bool("sp::ordered_metadata" in i.parts)
        call = (
            g.gather("metadata", g.bits(i.operands[4]))
            + f"multiply_sparse(w,d,a,b,c,metadata,{i.operands[5]},{_FORMATS[kind]},{ordered});"
        )
    elif shape in ("m16n8k16", "m16n8k8") and kind in ("f16", "bf16") and accumulator == "f32":
        call = f"multiply_half<{shape.split('k')[1]}>(w,d,a,b,c,{_FORMATS[kind]});"
    elif shape == "m16n8k8" and kind == "tf32":
        call = "multiply_tf32(w,d,a,b,c);"
    elif shape in ("m16n8k16", "m16n8k32") and kind in ("s8", "u8"):
        signs = ",".join(
            _bool(flag)
            for flag in (i.parts[-3] == "s8", i.parts[-2] == "s8", "satfinite" in i.parts)
        )
        call = f"multiply_int8<{shape.split('k')[1]}>(w,d,a,b,c,{signs});"
    else:
        raise NotImplementedError("this shape")
    return f"{{{prepared}{call}}}"


@writes("wgmma", words="mma_async fence commit_group wait_group m64n*")
def multiply_warpgroup(g: Operands, i: Instruction) -> str:
    """wgmma: computed when it is waited for, the latest that the hardware may do it."""
    refuse_guard(i)
    if i.parts[1] == "fence":
        return ";"
    if i.parts[1] == "commit_group":
        return "w.product_group++;"
    if i.parts[1] == "wait_group":
        return f"wait_products(w,{i.operands[0]});"
    shape = re.search(r"\.m64n(\d+)k(\d+)\.", i.op)
    kind = i.parts[-1]
    if shape is None or kind not in _FORMATS or i.parts[-3] != "f32":
        raise NotImplementedError("this shape")
    d, a, b, scale, *flags = i.operands
    in_registers = a.startswith("{")
    if any(sign != "1" for sign in flags[:2]):
        raise NotImplementedError("negated operands")
    transposes = [flag != "0" for flag in flags[2:]]
    a_transposed = bool(transposes) and not in_registers and transposes[0]
    b_transposed = bool(transposes) and transposes[-1]
    accumulate = g.value(scale, "pred") if g.register(scale) else _bool(scale != "0")
    # Descriptors and the scale are the same in every lane.
    a_at, b_at, accumulate = (
        text.replace("[l]", "[0]")
        for text in ("0" if in_registers else g.bits(a), g.bits(b), accumulate)
    )
    a_fragments = f"const u32*fragments[]={_sources(g, a)};const u32**a=fragments;"
    return (
        f"{{need_whole_warp(m,{i.line});u32 (*d[])[32]={_targets(g, d)};"
        + (a_fragments if in_registers else "const u32**a=nullptr;")
        + f"start_product<{shape[1]},{shape[2]},{_FORMATS[kind]}>(w,d,a,{a_at},{b_at},"
        f"{accumulate},{_bool(a_transposed)},{_bool(b_transposed)},{i.line});}}"
    )
