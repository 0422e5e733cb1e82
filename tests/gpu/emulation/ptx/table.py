"""The table of instructions: opcode to the function that writes its C++, with what it accepts."""

from __future__ import annotations

from collections.abc import Callable

from .operands import Operands
from .syntax import Instruction
from .types import is_type

Writer = Callable[[Operands, Instruction], str]

_TABLE: dict[str, tuple[Writer, frozenset[str]]] = {}

#: Words that change no result here: approximations are computed exactly, subnormals are kept.
_HARMLESS = frozenset({"rn", "ftz", "approx", "full", "sync", "aligned"})


def writes(*opcodes: str, words: str = "") -> Callable[[Writer], Writer]:
    """Enters a function for opcodes whose further parts are types, harmless or in `words`.

    `words` are separated by spaces; one that ends in `*` stands for all that start with it.
    """

    def enter(writer: Writer) -> Writer:
        for opcode in opcodes:
            _TABLE[opcode] = (writer, frozenset(words.split()) | _HARMLESS)
        return writer

    return enter


def write(operands: Operands, instruction: Instruction) -> str:
    """The C++ of one instruction.

    Raises:
        NotImplementedError: for an opcode, a part of it or an operand that is not known.
    """
    opcode, *parts = instruction.parts
    if opcode not in _TABLE:
        raise NotImplementedError(f"{instruction.op}, ptx line {instruction.line}")
    writer, words = _TABLE[opcode]
    families = tuple(word[:-1] for word in words if word.endswith("*"))
    for part in parts:
        if not (is_type(part) or part in words or part.startswith(families)):
            raise NotImplementedError(f".{part} of {instruction.op}, ptx line {instruction.line}")
    try:
        return writer(operands, instruction)
    except NotImplementedError as error:
        raise NotImplementedError(
            f"{error} in {instruction.op}, ptx line {instruction.line}"
        ) from error


def refuse_guard(instruction: Instruction) -> None:
    """Raises NotImplementedError for a guarded instruction of the whole warp."""
    if instruction.guard is not None:
        raise NotImplementedError("a guard")
