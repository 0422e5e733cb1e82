"""Loads, stores and atomics, and what is waited for: ld, st, atom, red, cp.async."""

from __future__ import annotations

from .moves import widened
from .operands import Operands, address, vector
from .syntax import Instruction
from .table import refuse_guard, writes
from .types import C_TYPES, PACKED, SIZES, is_float

_CACHING = "ca cg cs lu cv wb wt nc volatile relaxed acquire release weak cta gpu sys L1::* L2::*"
_SPACES = "param global shared shared::cta local const"


def _space(i: Instruction) -> str:
    for part in i.parts:
        if part.split("::")[0] in ("param", "global", "shared", "local", "const"):
            return part.split("::")[0]
    return "generic"


def _location(g: Operands, base: str, offset: int, space: str) -> str:
    """C++ of the byte address; in shared memory it counts from the block's first byte."""
    at = f"(u64){g.bits(base)}+({offset}ll)"
    return f"shared_offset({at})" if space == "shared" else at


@writes("ld", "ldu", words=f"{_CACHING} {_SPACES} v2 v4 v8")
def load(g: Operands, i: Instruction) -> str:
    kind, space = i.parts[-1], _space(i)
    targets = vector(i.operands[0])
    base, offset = address(i.operands[1])
    size, kind = SIZES[kind], widened(kind)
    step = range(0, size * len(targets), size)
    if space == "param":
        if base not in g.program.params:
            raise NotImplementedError(f"operand {base}")
        start = g.program.params[base].offset + offset
        return g.for_lanes(
            i,
            "".join(
                g.assign(t, kind, f"read<{C_TYPES[kind]}>(w.block->params+{start + n})")
                for t, n in zip(targets, step, strict=True)
            ),
        )
    body = "".join(
        g.assign(t, kind, f"read<{C_TYPES[kind]}>(bytes+{n})")
        for t, n in zip(targets, step, strict=True)
    )
    return _access(g, i, base, offset, space, size * len(targets), "load", body)


@writes("st", words=f"{_CACHING} {_SPACES} v2 v4 v8")
def store(g: Operands, i: Instruction) -> str:
    kind, space = i.parts[-1], _space(i)
    if space == "param":
        raise NotImplementedError("st.param")
    base, offset = address(i.operands[0])
    values = vector(i.operands[1])
    size, kind = SIZES[kind], widened(kind)
    body = "".join(
        f"write<{C_TYPES[kind]}>(bytes+{n * size},{g.value(value, kind)});"
        for n, value in enumerate(values)
    )
    return _access(g, i, base, offset, space, size * len(values), "store", body)


def _access(
    g: Operands, i: Instruction, base: str, offset: int, space: str, size: int, what: str, body: str
) -> str:
    at = _location(g, base, offset, space)
    if space == "local":
        return g.for_lanes(i, f"u8*bytes=local_bytes(w,l,{at},{size},LOCAL_BYTES,{i.line});{body}")
    if space == "const":  # Has a cache of its own, and counts as no traffic.
        body = f"u8*bytes=reach_global(w,access,l,{at},{size},Use::load,{i.line});{body}"
        return f"{{Access access;{g.for_lanes(i, body)}}}"
    use = "Use::store" if what == "store" else "Use::load"
    reach = f"u8*bytes=reach_{space}(w,access,l,{at},{size},{use},{i.line});"
    inner = g.for_lanes(i, reach + body)
    return f"{{Access access;{inner}count_{what}(w,access,{size});}}"


_ATOMIC = {
    "add": "before+{0}",
    "min": "std::min<{c}>(before,{0})",
    "max": "std::max<{c}>(before,{0})",
    "and": "before&{0}",
    "or": "before|{0}",
    "xor": "before^{0}",
    "exch": "{0}",
    "cas": "before=={0}?{1}:before",
    "inc": "before>={0}?0:before+1",
}


@writes("atom", "red", words=f"{_CACHING} {_SPACES} acq_rel noftz {' '.join(_ATOMIC)}")
def atomic(g: Operands, i: Instruction) -> str:
    """Atomics of one warp run lane after lane."""
    first = 0 if i.parts[0] == "red" else 1
    kind = i.parts[-1]
    operation = next(part for part in i.parts if part in _ATOMIC)
    base, offset = address(i.operands[first])
    sources = i.operands[first + 1 :]
    if sources[0].startswith("{"):
        raise NotImplementedError("vectors")
    half = PACKED.get(kind, kind)
    if half in ("f16", "bf16"):
        if operation != "add":
            raise NotImplementedError(operation)
        read, write = {
            "f16": ("half_to_float", "float_to_half"),
            "bf16": ("bf16_to_float", "float_to_bf16"),
        }[half]
        raw = g.value(sources[0], "b32" if kind in PACKED else "b16")
        c_type, result = ("u32", "b32") if kind in PACKED else ("u16", "b16")
        after = "|".join(
            f"({c_type})({write}({read}((u16)(before>>{s}))+{read}((u16)(({raw})>>{s})))<<{s})"
            for s in ((0, 16) if kind in PACKED else (0,))
        )
    else:
        if is_float(kind) and operation != "add":
            raise NotImplementedError(operation)
        c_type = {"f32": "float", "f64": "double"}.get(kind) or C_TYPES[kind]
        result = kind
        values = [f"({g.value(source, kind)})" for source in sources]
        after = _ATOMIC[operation].format(*values, c=c_type)
    space = _space(i)
    body = (
        f"u8*bytes=reach_{space}(w,access,l,{_location(g, base, offset, space)},"
        f"{SIZES[kind]},Use::atomic,{i.line});"
        f"{c_type} before=read<{c_type}>(bytes);write<{c_type}>(bytes,({c_type})({after}));"
    )
    if i.parts[0] == "atom":
        body += g.assign(i.operands[0], result, "before")
    return f"{{Access access;{g.for_lanes(i, body)}count_store(w,access,{SIZES[kind]});}}"


@writes(
    "cp",
    words="async ca cg shared shared::cta global commit_group wait_group wait_all L2::*",
)
def copy_async(g: Operands, i: Instruction) -> str:
    """cp.async: the bytes are read at once, and land in shared memory only when waited for."""
    if i.parts[1] != "async":
        raise NotImplementedError(i.parts[1])
    if {"commit_group", "wait_group", "wait_all"} & set(i.parts):
        refuse_guard(i)
        if "commit_group" in i.parts:
            return "w.copy_group++;"
        if "wait_group" in i.parts:
            return f"wait_copies(w,{i.operands[0]},{i.line});"
        return f"w.copy_group++;wait_copies(w,0,{i.line});"
    size = i.operands[2]
    # A fourth operand is the count of bytes to read (the rest is zeros), or a cache policy.
    policy = len(i.operands) > 3 and (g.register(i.operands[3]) or ("", ""))[1] == "u64"
    read = g.value(i.operands[3], "u32") if len(i.operands) > 3 and not policy else size
    target, source = address(i.operands[0]), address(i.operands[1])
    to = _location(g, *target, "shared")
    origin = _location(g, *source, "global")
    body = f"start_copy(w,from,to,l,{to},{origin},{size},{read},{i.line});"
    return f"{{Access from,to;{g.for_lanes(i, body)}count_copy(w,from,to,{size});}}"


@writes(
    *("membar", "fence", "prefetch", "griddepcontrol", "nanosleep", "discard", "applypriority"),
    words=(
        f"{_CACHING} cta gpu sys proxy async sc acq_rel mbarrier_init release acquire async::* "
        "launch_dependents wait global shared::cta shared L1 L2 evict_normal generic alias gl"
    ),
)
def hint(g: Operands, i: Instruction) -> str:
    """Order and speed only: memory is sequentially consistent here, so nothing is to be done."""
    return ";"


@writes("createpolicy", words="fractional range L2::*")
def cache_policy(g: Operands, i: Instruction) -> str:
    return g.for_lanes(i, g.assign(i.operands[0], "b64", "0"))
