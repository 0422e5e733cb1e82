"""What the lanes of a warp do together: shfl, vote, redux, elect, activemask."""

from __future__ import annotations

from .operands import Operands
from .syntax import Instruction
from .table import refuse_guard, writes
from .types import C_TYPES

_REDUCTIONS = {
    "add": "total+next",
    "and": "total&next",
    "or": "total|next",
    "xor": "total^next",
    "min": "std::min(total,next)",
    "max": "std::max(total,next)",
}


@writes("shfl", words="idx bfly up down")
def shuffle(g: Operands, i: Instruction) -> str:
    targets = [target.strip() for target in i.operands[0].split("|")]
    arrays = "".join(
        g.gather(name, g.bits(operand))
        for name, operand in zip(("value", "by", "clamp", "members"), i.operands[1:5], strict=True)
    )
    mode = f"Shuffle::{i.parts[2]}"
    body = f"bool inside;u32 got=shuffle({mode},l,m,value,by,clamp,members,inside,{i.line});"
    body += g.assign(targets[0], "b32", "got")
    body += g.assign(targets[1], "pred", "inside") if len(targets) > 1 else ""
    return f"{{{arrays}{g.for_lanes(i, body)}}}"


@writes("vote", words="ballot any all uni")
def vote(g: Operands, i: Instruction) -> str:
    refuse_guard(i)
    votes = f"u32 votes=0;LANES votes|=(u32)({g.value(i.operands[1], 'pred')})<<l;"
    body = f"u32 members=(u32){g.bits(i.operands[2])};"
    mode = i.parts[2]
    if mode == "ballot":
        body += g.assign(i.operands[0], "b32", "votes&members")
    else:
        result = {
            "any": "(votes&members)!=0",
            "all": "(votes&members)==(members&m)",
            "uni": "(votes&members)==0||(votes&members)==(members&m)",
        }[mode]
        body += g.assign(i.operands[0], "pred", result)
    return f"{{{votes}LANES{{{body}}}}}"


@writes("redux", words=" ".join(_REDUCTIONS))
def reduce(g: Operands, i: Instruction) -> str:
    refuse_guard(i)
    c_type = C_TYPES[i.parts[-1]]
    take = f"{c_type} next=({c_type}){g.bits(i.operands[1])};"
    total = f"{c_type} total={{}};bool first=true;LANES{{{take}"
    total += f"total=first?next:({c_type})({_REDUCTIONS[i.parts[2]]});first=false;}}"
    return f"{{{total}LANES{{{g.assign(i.operands[0], 'b32', 'total')}}}}}"


@writes("elect")
def elect(g: Operands, i: Instruction) -> str:
    refuse_guard(i)
    leader, chosen = (target.strip() for target in i.operands[0].split("|"))
    body = g.assign(leader, "b32", "first") + g.assign(chosen, "pred", "l==first")
    return f"{{int first=__builtin_ctz(m);LANES{{{body}}}}}"


@writes("activemask")
def active_mask(g: Operands, i: Instruction) -> str:
    return g.for_lanes(i, g.assign(i.operands[0], "b32", "m"))


@writes("bar", words="warp")
def warp_barrier(g: Operands, i: Instruction) -> str:
    """bar.warp.sync: lanes of a warp run in step here, so that nothing is to be done."""
    if i.parts[1] != "warp":
        raise NotImplementedError("a barrier of some warps")
    return ";"
