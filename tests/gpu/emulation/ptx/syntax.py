"""PTX text to a `Program`: parameters, registers, shared symbols and blocks of instructions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .types import SIZES, register_type

_SKIPPED = re.compile(r"\.(file|version|target|address_size|pragma|loc)\s")
#: Instructions after which the warp may run another block next.
_ENDS_BLOCK = re.compile(r"bra\b|bar\.sync|bar\.cta\.sync|barrier\.(cta\.)?sync|ret$|exit$")


@dataclass(frozen=True)
class Guard:
    """The predicate of a guarded instruction (`@%p1`, `@!%p1`)."""

    register: str
    negated: bool


@dataclass(frozen=True)
class Instruction:
    """One instruction of the kernel; `line` is its line in the PTX text."""

    op: str
    operands: tuple[str, ...]
    guard: Guard | None
    line: int

    @property
    def parts(self) -> list[str]:
        """The opcode's parts: `ld.global.v4.b32` gives ld, global, v4, b32."""
        return self.op.split(".")

    @property
    def ends_block(self) -> bool:
        return bool(_ENDS_BLOCK.match(self.op))


@dataclass(frozen=True)
class Param:
    """A parameter of the kernel: where it lies, in bytes, and whether it is a float."""

    offset: int
    size: int
    is_float: bool


@dataclass
class Program:
    """One `.entry` of a PTX file.

    `shared` gives offsets in bytes, `registers` the C++ type and, for a numbered set such as
    `%r<9>`, the count (0 for a single name). `constants` has the first bytes of the file's own
    arrays in global and constant memory.
    """

    name: str = ""
    params: dict[str, Param] = field(default_factory=dict)
    param_bytes: int = 0
    registers: dict[str, tuple[str, int]] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)
    shared_bytes: int = 0
    dynamic_shared: str | None = None
    constants: dict[str, bytes] = field(default_factory=dict)
    local: str | None = None
    local_bytes: int = 0
    blocks: list[list[Instruction]] = field(default_factory=lambda: [[]])
    labels: dict[str, int] = field(default_factory=dict)


def entry_names(ptx: str) -> list[str]:
    """Names of the kernels in a PTX file."""
    return re.findall(r"\.entry\s+([\w$]+)", ptx)


def select_entry(ptx: str, name: str) -> str:
    """The PTX text with the one kernel `name`; lines keep their numbers.

    Raises:
        ValueError: where the text has no such kernel.
    """
    if name not in entry_names(ptx):
        raise ValueError(f"expected one of {entry_names(ptx)}, got {name!r}")
    for other in entry_names(ptx):
        if other == name:
            continue
        head = re.search(rf"(?:\.visible\s+)?\.entry\s+{re.escape(other)}\b", ptx)
        assert head is not None
        start, end = head.start(), _closing_brace(ptx, ptx.index("{", head.end()))
        ptx = ptx[:start] + "\n" * ptx.count("\n", start, end) + ptx[end:]
    return ptx


def parse(ptx: str) -> Program:
    """Reads the only kernel of a PTX text.

    Raises:
        ValueError: where the text has no kernel, or several.
        NotImplementedError: for functions that are not inlined, and for types it does not know.
    """
    names = entry_names(ptx)
    if len(names) != 1:
        raise ValueError(f"expected one kernel, got {names}; choose with select_entry")
    return _Parser(ptx).program


def _closing_brace(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    raise ValueError("expected a closing brace, got the end of the text")


class _Parser:
    """Registers of an inner scope `{ .reg ...; }` get names of their own."""

    def __init__(self, ptx: str) -> None:
        self.program = Program()
        self._scopes = [""]
        self._scope_count = 0
        ptx = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), ptx, flags=re.DOTALL)
        ptx = re.split(r"^\s*\.section\b", ptx, maxsplit=1, flags=re.MULTILINE)[0]
        for kind, text, line in _statements(ptx):
            getattr(self, f"_{kind}")(text, line)

    def _head(self, text: str, line: int) -> None:
        if ".entry" not in text:
            raise NotImplementedError(f"function that is not inlined, ptx line {line}: {text}")
        program = self.program
        name = re.search(r"\.entry\s+([\w$]+)", text)
        assert name is not None
        program.name = name[1]
        offset = 0
        for param in re.findall(r"\.param\s+([^,)]*)", text):
            symbol = re.search(r"([\w$]+)(?:\[(\d+)\])?$", param.strip())
            kind = re.search(r"\.([usb]\d+|f\d+)\b", param)
            assert symbol is not None
            assert kind is not None
            size = int(symbol[2]) * SIZES[kind[1]] if symbol[2] else SIZES[kind[1]]
            # `.ptr .align` speaks of what the pointer points to.
            own = re.search(r"^\.align\s+(\d+)", param.strip())
            align = int(own[1]) if own else SIZES[kind[1]]
            offset = -(-offset // align) * align
            program.params[symbol[1]] = Param(offset, size, kind[1][0] == "f")
            offset += size
        program.param_bytes = offset

    def _scope(self, text: str, line: int) -> None:
        if text == "{":
            self._scope_count += 1
            # The kernel's own body is the outermost scope.
            self._scopes.append(f"s{self._scope_count}_" if len(self._scopes) > 1 else "")
        else:
            self._scopes.pop()

    def _label(self, text: str, line: int) -> None:
        if self.program.blocks[-1]:
            self.program.blocks.append([])
        self.program.labels[self._scopes[-1] + text] = len(self.program.blocks) - 1

    def _statement(self, text: str, line: int) -> None:
        if text.startswith(".reg"):
            self._declare_registers(text)
        elif re.match(r"(\.extern\s+|\.visible\s+)*\.shared\b", text):
            self._declare_shared(text)
        elif text.startswith(".local"):
            self._declare_local(text)
        elif re.match(r"(\.visible\s+|\.weak\s+)*\.(global|const)\b", text):
            self._declare_constant(text)
        elif not text.startswith("."):
            self._instruction(text, line)

    def _declare_registers(self, text: str) -> None:
        kind, names = re.match(r"\.reg\s+\.(\w+)\s+(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        for name in (n.strip() for n in names.split(",")):
            numbered = re.match(r"(%[\w$]+)<(\d+)>", name)
            key, count = (numbered[1], int(numbered[2])) if numbered else (name, 0)
            self.program.registers[self._scopes[-1] + key] = (register_type(kind), count)

    def _declare_shared(self, text: str) -> None:
        program = self.program
        name = re.search(r"([\w$]+)\s*(?:\[(\d*)\])?$", text)
        kind = re.search(r"\.([bus]\d+|f\d+)\s+[\w$]+", text)
        align = re.search(r"\.align\s+(\d+)", text)
        assert name is not None
        assert kind is not None
        if name[2] == "":
            program.dynamic_shared = name[1]
            return
        step = int(align[1]) if align else SIZES[kind[1]]
        program.shared_bytes = -(-program.shared_bytes // step) * step
        program.shared[name[1]] = program.shared_bytes
        program.shared_bytes += int(name[2] or 1) * SIZES[kind[1]]

    def _declare_local(self, text: str) -> None:
        if self.program.local is not None:
            raise NotImplementedError("more than one array in local memory")
        name = re.search(r"([\w$]+)\[(\d+)\]", text)
        assert name is not None
        self.program.local, self.program.local_bytes = name[1], int(name[2])

    def _declare_constant(self, text: str) -> None:
        declared, _, values = text.partition("=")
        name = re.search(r"([\w$]+)\s*(?:\[(\d+)\])?\s*$", declared)
        kind = re.search(r"\.([bus]\d+|f\d+)\s+[\w$]+", declared)
        assert name is not None
        assert kind is not None
        size = SIZES[kind[1]]
        data = b"".join(_constant(v.strip(), size) for v in values.strip(" {}").split(",") if v)
        self.program.constants[name[1]] = data.ljust(int(name[2] or 1) * size, b"\0")

    def _instruction(self, text: str, line: int) -> None:
        match = re.match(r"(?:@(!?)(%[\w$]+)\s+)?([\w.:]+)\s*(.*)$", text, re.DOTALL)
        assert match is not None
        negated, guard, op, rest = match.groups()
        instruction = Instruction(
            op,
            tuple(self._scoped(operand) for operand in _split_operands(rest)),
            Guard(self._resolve(guard), bool(negated)) if guard else None,
            line,
        )
        self.program.blocks[-1].append(instruction)
        if instruction.ends_block:
            self.program.blocks.append([])

    def _scoped(self, operand: str) -> str:
        return re.sub(r"%[\w$.]+|[$A-Za-z_][\w$]*", lambda m: self._resolve(m[0]), operand)

    def _resolve(self, name: str) -> str:
        """The name under which the innermost scope knows a register or a label."""
        program = self.program
        for scope in reversed(self._scopes):
            if scope and (scope + name in program.registers or scope + name in program.labels):
                return scope + name
        return name


def _constant(value: str, size: int) -> bytes:
    bits = re.fullmatch(r"0[fFdD]([0-9a-fA-F]+)", value)
    if bits is None and not re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", value):
        raise NotImplementedError(f"initial value {value}")
    number = int(bits[1], 16) if bits else int(value.rstrip("U"), 0)
    return (number & ((1 << (8 * size)) - 1)).to_bytes(size, "little")


def _split_operands(text: str) -> list[str]:
    """Splits at commas outside of brackets."""
    operands, depth, current = [], 0, ""
    for letter in text.strip():
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            operands.append(current.strip())
            current = ""
        else:
            current += letter
    return [*operands, current.strip()] if current.strip() else operands


def _statements(ptx: str) -> list[tuple[str, str, int]]:
    """(kind, text, line) of each label, brace, kernel head and statement, in order."""
    found: list[tuple[str, str, int]] = []
    pending, start = "", 0
    for number, raw in enumerate(ptx.splitlines(), 1):
        line = re.sub(r"//.*", "", raw).strip()
        if _SKIPPED.match(line):
            continue
        while line:
            if not pending:
                start = number
                label = re.match(r"([$%\w]+):(?!:)", line)
                if label:
                    found.append(("label", label[1], number))
                    line = line[label.end() :].strip()
                    continue
                if line[0] in "{}":  # A brace elsewhere belongs to a vector operand.
                    found.append(("scope", line[0], number))
                    line = line[1:].strip()
                    continue
            end, brace = line.find(";"), line.find("{")
            opens_body = re.search(r"\.(entry|func)\b", pending + line)
            if opens_body and brace >= 0 and (end < 0 or brace < end):
                found.append(("head", f"{pending} {line[:brace]}".strip(), start))
                pending, line = "", line[brace:]
                continue
            if end < 0:
                pending += " " + line
                break
            found.append(("statement", f"{pending} {line[:end]}".strip(), start))
            pending, line = "", line[end + 1 :].strip()
    return found
