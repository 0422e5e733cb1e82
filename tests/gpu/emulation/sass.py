"""Machine code read back: registers, spills, shared memory, instructions by loop."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True)
class Section:
    """Some instructions of a kernel, in order, each with its modifiers: `LDG.E.128`."""

    opcodes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.opcodes)

    @property
    def mix(self) -> Counter[str]:
        """How many instructions of each opcode, modifiers left out."""
        return Counter(opcode.split(".")[0] for opcode in self.opcodes)

    def count(self, opcode: str, *modifiers: str) -> int:
        """How many instructions have an opcode and all of the modifiers.

        `count("LDGSTS", "128")` counts asynchronous copies of 16 bytes.
        """
        words = (found.split(".") for found in self.opcodes)
        return sum(first == opcode and set(modifiers) <= set(rest) for first, *rest in words)

    @property
    def tensor_core(self) -> tuple[str, ...]:
        """The distinct tensor core instructions: HMMA, IMMA, QMMA, HGMMA, UTCHMMA and the like."""
        return tuple(sorted({op for op in self.opcodes if "MMA" in op.split(".")[0]}))


@dataclass(frozen=True)
class MachineCode:
    """What the assembler made of one kernel. `spilled_bytes` is local memory a thread, which
    holds spilled registers and arrays with computed indices; `shared_bytes` the static part."""

    name: str
    registers: int
    stack_bytes: int
    local_bytes: int
    shared_bytes: int
    body: Section
    loops: tuple[Section, ...]

    @property
    def spills(self) -> int:
        """Loads and stores of local memory."""
        return self.body.count("LDL") + self.body.count("STL")

    @property
    def main_loop(self) -> Section:
        """The longest loop that uses tensor cores, else the longest.

        Raises:
            ValueError: for a kernel without a loop.
        """
        if not self.loops:
            raise ValueError(f"expected a loop in {self.name}, got none")
        return max(self.loops, key=lambda loop: (bool(loop.tensor_core), len(loop)))


@lru_cache
def read_machine_code(cubin: bytes) -> dict[str, MachineCode]:
    """The kernels of a cubin by name, read with the tools that come with Triton."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.cubin")
        file.write_bytes(cubin)
        usage = _run("cuobjdump", "-res-usage", str(file))
        text = _run("nvdisasm", "-c", str(file))
    codes = {}
    sections = re.split(r"^\s*\.section\s+\.text\.([\w$]+),.*$", text, flags=re.MULTILINE)
    bodies = dict(zip(sections[1::2], sections[2::2], strict=True))
    for name, line in re.findall(r"Function (\S+):\s*\n\s*(.*)", usage):
        figures = {key: int(value) for key, value in re.findall(r"(\w+):(\d+)", line)}
        body, loops = _parse(bodies[name])
        codes[name] = MachineCode(
            name,
            figures["REG"],
            figures["STACK"],
            figures["LOCAL"],
            figures["SHARED"],
            body,
            loops,
        )
    return codes


def _parse(text: str) -> tuple[Section, tuple[Section, ...]]:
    opcodes: list[str] = []
    labels: dict[str, int] = {}
    branches: list[tuple[int, str]] = []
    for line in text.splitlines():
        label = re.match(r"\s*(\.L_\w+):", line)
        if label:
            labels[label[1]] = len(opcodes)
            continue
        found = re.match(r"\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*(.*?);", line)
        if found is None:
            continue
        target = re.search(r"\.L_\w+", found[2])
        if found[1].startswith("BRA") and target:
            branches.append((len(opcodes), target[0]))
        opcodes.append(found[1])
    loops = [
        Section(tuple(opcodes[labels[label] : at + 1]))
        for at, label in branches
        # A branch to itself, or nearly, is where the code ends.
        if label in labels and labels[label] <= at and at - labels[label] > 3
    ]
    return Section(tuple(opcodes)), tuple(loops)


def _run(tool: str, *arguments: str) -> str:
    import triton

    program = Path(triton.__file__).parent / "backends/nvidia/bin" / tool
    command: Sequence[str] = [str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
