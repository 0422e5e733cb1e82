"""Every family of PTX instructions against Python: one kernel holds all cases, one lane a value."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

import pytest
import torch

from gpu.emulation.kernel import Kernel
from gpu.emulation.requirements import missing_compiler
from gpu.evidence.changes import EMULATOR, rests_on

pytestmark = [
    rests_on(EMULATOR),
    pytest.mark.skipif(missing_compiler() is not None, reason=str(missing_compiler())),
]

M32 = 0xFFFFFFFF


def signed(x: int, bits: int = 32) -> int:
    x &= (1 << bits) - 1
    return x - (1 << bits) if x >> (bits - 1) else x


def f32(x: int) -> float:
    return struct.unpack("<f", struct.pack("<I", x & M32))[0]


def bits(x: float) -> int:
    if abs(x) > 3.4e38 and math.isfinite(x):
        x = math.copysign(math.inf, x)
    return struct.unpack("<I", struct.pack("<f", x))[0]


def half(x: float) -> int:
    return int(torch.tensor(x).half().view(torch.int16)) & 0xFFFF


def bf16(x: float) -> int:
    return int(torch.tensor(x).bfloat16().view(torch.int16)) & 0xFFFF


def of_half(x: int) -> float:
    return float(torch.tensor(signed(x, 16), dtype=torch.int16).view(torch.float16))


def byte_of(a: int, b: int, pick: int) -> int:
    byte = ((b << 32 | a) >> (8 * (pick & 7))) & 255
    return (255 if byte & 128 else 0) if pick & 8 else byte


# The case reads %a, %b, %c (one value a lane) and writes %o. Lane l's values are A[l], B[l], C[l].
Case = tuple[str, Callable[[int, int, int], int]]
INTEGERS: dict[str, Case] = {
    "add": ("add.s32 %o, %a, %b;", lambda a, b, c: a + b),
    "sub": ("sub.u32 %o, %a, %b;", lambda a, b, c: a - b),
    "mul.lo": ("mul.lo.s32 %o, %a, %b;", lambda a, b, c: a * b),
    "mul.hi.s32": ("mul.hi.s32 %o, %a, %b;", lambda a, b, c: signed(a) * signed(b) >> 32),
    "mul.hi.u32": ("mul.hi.u32 %o, %a, %b;", lambda a, b, c: a * b >> 32),
    "mul.wide": (
        "mul.wide.s32 %w, %a, %b; shr.u64 %w, %w, 16; cvt.u32.u64 %o, %w;",
        lambda a, b, c: signed(a) * signed(b) >> 16,
    ),
    "mad.lo": ("mad.lo.s32 %o, %a, %b, %c;", lambda a, b, c: a * b + c),
    "mad.wide.s32": (
        "cvt.s64.s32 %w, %c; mad.wide.s32 %w, %a, %b, %w; shr.s64 %w, %w, 9; cvt.u32.u64 %o, %w;",
        lambda a, b, c: signed(a) * signed(b) + signed(c) >> 9,
    ),
    "div.u32": ("or.b32 %t, %b, 1; div.u32 %o, %a, %t;", lambda a, b, c: a // (b | 1)),
    "rem.s32": (
        "or.b32 %t, %b, 1; rem.s32 %o, %a, %t;",
        lambda a, b, c: int(math.fmod(signed(a), signed(b | 1))),
    ),
    "min.s32": ("min.s32 %o, %a, %b;", lambda a, b, c: min(signed(a), signed(b))),
    "max.u32": ("max.u32 %o, %a, %b;", lambda a, b, c: max(a, b)),
    "abs": ("shr.s32 %t, %a, 1; abs.s32 %o, %t;", lambda a, b, c: abs(signed(a) >> 1)),
    "neg": ("neg.s32 %o, %a;", lambda a, b, c: -a),
    "not": ("not.b32 %o, %a;", lambda a, b, c: ~a),
    "xor": ("xor.b32 %o, %a, %b;", lambda a, b, c: a ^ b),
    "shl past the end": ("shl.b32 %o, %a, 32;", lambda a, b, c: 0),
    "shl": ("and.b32 %t, %b, 31; shl.b32 %o, %a, %t;", lambda a, b, c: a << (b & 31)),
    "shr.s32 past the end": ("shr.s32 %o, %a, 40;", lambda a, b, c: signed(a) >> 31),
    "shf.l.wrap": (
        "shf.l.wrap.b32 %o, %a, %b, %c;",
        lambda a, b, c: (b << 32 | a) << (c & 31) >> 32,
    ),
    "shf.r.clamp": (
        "shf.r.clamp.b32 %o, %a, %b, %c;",
        lambda a, b, c: (b << 32 | a) >> min(c, 32),
    ),
    "bfe.u32": ("bfe.u32 %o, %a, 5, 9;", lambda a, b, c: a >> 5 & 511),
    "bfe.s32": ("bfe.s32 %o, %a, 5, 9;", lambda a, b, c: signed(a >> 5, 9)),
    "bfe.s32 past the end": ("bfe.s32 %o, %a, 28, 9;", lambda a, b, c: signed(a) >> 28),
    "bfi": ("bfi.b32 %o, %a, %b, 7, 6;", lambda a, b, c: b & ~(63 << 7) | (a & 63) << 7),
    "prmt": (
        "prmt.b32 %o, %a, %b, 0x70a4;",
        lambda a, b, c: sum(byte_of(a, b, pick) << (8 * i) for i, pick in enumerate((4, 10, 0, 7))),
    ),
    "lop3": ("lop3.b32 %o, %a, %b, %c, 0x96;", lambda a, b, c: a ^ b ^ c),
    "lop3 choose": ("lop3.b32 %o, %a, %b, %c, 0xca;", lambda a, b, c: a & b | ~a & c),
    "popc": ("popc.b32 %o, %a;", lambda a, b, c: a.bit_count()),
    "clz": ("shr.u32 %t, %a, 7; clz.b32 %o, %t;", lambda a, b, c: 32 - (a >> 7).bit_length()),
    "brev": ("brev.b32 %o, %a;", lambda a, b, c: int(f"{a:032b}"[::-1], 2)),
    "setp and selp": (
        "setp.gt.s32 %p, %a, %b; selp.b32 %o, %b, %c, %p;",
        lambda a, b, c: b if signed(a) > signed(b) else c,
    ),
    "setp.lo with a second result": (
        "setp.lo.u32 %p|%q, %a, %b; selp.b32 %o, 1, 2, %q;",
        lambda a, b, c: 2 if a < b else 1,
    ),
    "setp combined": (
        "setp.lt.u32 %q, %c, 40; setp.lt.and.u32 %p, %a, %b, !%q; selp.b32 %o, 1, 2, %p;",
        lambda a, b, c: 1 if a < b and c >= 40 else 2,
    ),
    "guards": (
        "mov.u32 %o, 7; setp.lt.u32 %p, %a, %b; @!%p mov.u32 %o, 9;",
        lambda a, b, c: 7 if a < b else 9,
    ),
    "mov of vectors": (
        "mov.b32 {%h, %g}, %a; mov.b32 %o, {%g, %h};",
        lambda a, b, c: a >> 16 | a << 16,
    ),
    "cvt.s32.s8": ("cvt.s32.s8 %o, %a;", lambda a, b, c: signed(a, 8)),
}

# These read a, b and c as floats.
FLOATS: dict[str, Case] = {
    "add.f32": ("add.f32 %o, %a, %b;", lambda a, b, c: bits(f32(a) + f32(b))),
    "mul.f32": ("mul.f32 %o, %a, %b;", lambda a, b, c: bits(f32(a) * f32(b))),
    "fma.rn.f32": ("fma.rn.f32 %o, %a, %b, %c;", lambda a, b, c: bits(f32(a) * f32(b) + f32(c))),
    "max.f32": ("max.f32 %o, %a, 0f00000000;", lambda a, b, c: bits(max(f32(a), 0.0))),
    "neg.f32": ("neg.f32 %o, %a;", lambda a, b, c: bits(-f32(a))),
    "abs.f32": ("abs.f32 %o, %a;", lambda a, b, c: bits(abs(f32(a)))),
    "copysign": (
        "copysign.f32 %o, %a, %b;",
        lambda a, b, c: bits(math.copysign(f32(b), f32(a))),
    ),
    "cvt.rzi.s32.f32": ("cvt.rzi.s32.f32 %o, %a;", lambda a, b, c: int(f32(a))),
    "cvt.rni.s32.f32": ("cvt.rni.s32.f32 %o, %a;", lambda a, b, c: round(f32(a))),
    "cvt.rmi.f32.f32": ("cvt.rmi.f32.f32 %o, %a;", lambda a, b, c: bits(math.floor(f32(a)))),
    "cvt.rzi.u32.f32 saturates": (
        "cvt.rzi.u32.f32 %o, %a;",
        lambda a, b, c: max(0, int(f32(a))),
    ),
    "cvt.rn.f32.s32": (
        "cvt.rzi.s32.f32 %t, %b; cvt.rn.f32.s32 %o, %t;",
        lambda a, b, c: bits(int(f32(b))),
    ),
    "cvt.rn.f16.f32": ("cvt.rn.f16.f32 %h, %a; cvt.u32.u16 %o, %h;", lambda a, b, c: half(f32(a))),
    "cvt.rn.bf16.f32": (
        "cvt.rn.bf16.f32 %h, %a; cvt.u32.u16 %o, %h;",
        lambda a, b, c: bf16(f32(a)),
    ),
    "cvt.rn.f16x2.f32": (
        "cvt.rn.f16x2.f32 %o, %a, %b;",
        lambda a, b, c: half(f32(a)) << 16 | half(f32(b)),
    ),
    "cvt.rna.tf32.f32": (
        "cvt.rna.tf32.f32 %o, %a;",
        lambda a, b, c: (a + 0x1000) & 0xFFFFE000,
    ),
    "add.f16": (
        "cvt.rn.f16.f32 %h, %a; cvt.rn.f16.f32 %g, %b; add.f16 %h, %h, %g; cvt.u32.u16 %o, %h;",
        lambda a, b, c: half(of_half(half(f32(a))) + of_half(half(f32(b)))),
    ),
    "max.f16x2": (
        "cvt.rn.f16x2.f32 %t, %a, %b; mov.b32 %o, 0; max.f16x2 %o, %t, %o;",
        lambda a, b, c: half(max(f32(a), 0.0)) << 16 | half(max(f32(b), 0.0)),
    ),
    "fma.rn.relu.f16x2": (
        "cvt.rn.f16x2.f32 %t, %a, %b; fma.rn.relu.f16x2 %o, %t, %t, %t;",
        lambda a, b, c: relu_square(a) << 16 | relu_square(b),
    ),
    "setp.ne is ordered": (
        "mov.b32 %t, 0x7fc00000; setp.ne.f32 %p, %a, %t; selp.b32 %o, 1, 2, %p;",
        lambda a, b, c: 2,
    ),
    "setp.neu is not": (
        "mov.b32 %t, 0x7fc00000; setp.neu.f32 %p, %a, %t; selp.b32 %o, 1, 2, %p;",
        lambda a, b, c: 1,
    ),
    "max.NaN": (
        "mov.b32 %t, 0x7fc00000; max.NaN.f32 %t, %a, %t; "
        "setp.nan.f32 %p, %t, %t; selp.b32 %o, 1, 2, %p;",
        lambda a, b, c: 1,
    ),
}

WARP: dict[str, tuple[str, Callable[[int, list[int]], int]]] = {
    "shfl.bfly": ("shfl.sync.bfly.b32 %o, %a, 5, 31, -1;", lambda i, a: a[i ^ 5]),
    "shfl.idx": ("shfl.sync.idx.b32 %o, %a, 3, 31, -1;", lambda i, a: a[3]),
    "shfl.up": ("shfl.sync.up.b32 %o, %a, 4, 0, -1;", lambda i, a: a[i - 4 if i >= 4 else i]),
    "shfl.down in segments of 8": (
        "shfl.sync.down.b32 %o, %a, 3, 0x1807, -1;",
        lambda i, a: a[i + 3 if i % 8 + 3 < 8 else i],
    ),
    "shfl's predicate": (
        "shfl.sync.up.b32 %o|%p, %a, 4, 0, -1; selp.b32 %o, 1, 2, %p;",
        lambda i, a: 1 if i >= 4 else 2,
    ),
    "vote.ballot": (
        "setp.gt.s32 %p, %a, 0; vote.sync.ballot.b32 %o, %p, -1;",
        lambda i, a: sum((signed(x) > 0) << n for n, x in enumerate(a)),
    ),
    "vote.any": (
        "setp.eq.u32 %q, %l, 9; vote.sync.any.pred %p, %q, -1; selp.b32 %o, 1, 2, %p;",
        lambda i, a: 1,
    ),
    "vote.all": (
        "setp.ne.u32 %q, %l, 9; vote.sync.all.pred %p, %q, -1; selp.b32 %o, 1, 2, %p;",
        lambda i, a: 2,
    ),
    "redux.max.s32": (
        "redux.sync.max.s32 %o, %a, -1;",
        lambda i, a: max(signed(x) for x in a),
    ),
    "redux.add": ("redux.sync.add.u32 %o, %a, -1;", lambda i, a: sum(a)),
    "elect": ("elect.sync %o|%p, -1; selp.b32 %o, 1, 2, %p;", lambda i, a: 1 if i == 0 else 2),
    "laneid": ("mov.u32 %o, %laneid;", lambda i, a: i),
}


def relu_square(x: int) -> int:
    h = of_half(half(f32(x)))
    return half(max(0.0, h * h + h))


def source() -> str:
    registers = (
        ".reg .b32 %a, %b, %c, %o, %t, %l; .reg .b64 %w, %x, %y; "
        ".reg .b16 %h, %g; .reg .pred %p, %q;"
    )
    lines = [
        ".version 8.0\n.target sm_90\n.address_size 64",
        ".visible .entry cases(.param .u64 x, .param .u64 f, .param .u64 y)",
        "{",
        registers,
        "mov.u32 %l, %tid.x; ld.param.u64 %y, [y]; mad.wide.u32 %y, %l, 4, %y;",
    ]
    cases = [("x", case[0]) for case in INTEGERS.values()]
    cases += [("f", case[0]) for case in FLOATS.values()]
    cases += [("x", case[0]) for case in WARP.values()]
    for n, (data, text) in enumerate(cases):
        lines += [
            f"ld.param.u64 %x, [{data}]; mad.wide.u32 %x, %l, 4, %x;",
            "ld.global.b32 %a, [%x]; ld.global.b32 %b, [%x+128]; ld.global.b32 %c, [%x+256];",
            text,
            f"st.global.b32 [%y+{128 * n}], %o;",
        ]
    return "\n".join([*lines, "ret;", "}"])


def unsigned(values: torch.Tensor) -> list[list[int]]:
    return [[x & M32 for x in row] for row in values.view(torch.int32).tolist()]


@pytest.fixture(scope="module")
def ran() -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    """(3, 32) integers and floats, and the result of each case in each lane."""
    random = torch.Generator().manual_seed(1)
    integers = torch.randint(-(2**31), 2**31, (3, 32), generator=random, dtype=torch.int64)
    integers[2, :16] %= 40  # Shifts within a word, and some past it.
    integers = integers.to(torch.int32)
    floats = torch.randn(3, 32, generator=random) * 100
    out = torch.zeros(len(INTEGERS) + len(FLOATS) + len(WARP), 32, dtype=torch.int32)
    Kernel(source()).launch((1,), (32,), [integers, floats, out])
    return unsigned(integers), unsigned(floats), unsigned(out)


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_instructions_equal_python(name: str, ran) -> None:
    integers, _, out = ran
    found = out[list(INTEGERS).index(name)]
    assert found == [INTEGERS[name][1](*lane) & M32 for lane in zip(*integers, strict=True)]


@pytest.mark.parametrize("name", FLOATS)
def test_float_instructions_equal_python(name: str, ran) -> None:
    _, floats, out = ran
    found = out[len(INTEGERS) + list(FLOATS).index(name)]
    assert found == [FLOATS[name][1](*lane) & M32 for lane in zip(*floats, strict=True)]


@pytest.mark.parametrize("name", WARP)
def test_instructions_of_a_warp_equal_python(name: str, ran) -> None:
    integers, _, out = ran
    found = out[len(INTEGERS) + len(FLOATS) + list(WARP).index(name)]
    assert found == [WARP[name][1](lane, integers[0]) & M32 for lane in range(32)]
