"""PTX's types: their size in bytes and the C++ type that holds their bits."""

from __future__ import annotations

SIZES = {"pred": 1, "f16": 2, "bf16": 2, "f32": 4, "tf32": 4, "f64": 8, "f16x2": 4, "bf16x2": 4}
SIZES |= {f"{kind}{bits}": bits // 8 for kind in "bsu" for bits in (8, 16, 32, 64)}

C_TYPES = {f"{kind}{bits}": f"{kind}{bits}" for kind in "su" for bits in (8, 16, 32, 64)}
C_TYPES |= {f"b{bits}": f"u{bits}" for bits in (8, 16, 32, 64)}

#: Types that hold two halves, and the half they hold.
PACKED = {"f16x2": "f16", "bf16x2": "bf16"}


def is_type(word: str) -> bool:
    """Whether a part of an opcode names a type."""
    return word in SIZES


def is_float(kind: str) -> bool:
    """Whether values of the type are floating-point numbers."""
    return kind in ("f16", "bf16", "f32", "f64")


def is_signed(kind: str) -> bool:
    """Whether values of the type are signed integers."""
    return kind[0] == "s"


def bits_of(kind: str) -> str:
    """The untyped type of the same size, as moves use it."""
    return f"b{SIZES[kind] * 8}"


def register_type(kind: str) -> str:
    """The C++ type of a register declared with a PTX type."""
    if kind == "b128":
        raise NotImplementedError("128-bit registers")
    return f"u{SIZES[kind] * 8}"
