"""Faults put into PTX, one at a time: what a wrong kernel, or a wrong compiler, would have made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Mutation(NamedTuple):
    """A fault, and the PTX that has it."""

    fault: str
    ptx: str
    in_loop: bool


def without_barriers(ptx: str) -> Iterator[Mutation]:
    """Each barrier of the block dropped."""
    yield from _replaced(ptx, r"bar\.sync\s+0;", "", "without the barrier")


def without_waits(ptx: str) -> Iterator[Mutation]:
    """Each wait for copies, or for a warpgroup's product, dropped.

    Waits that follow one another without anything between them are one.
    """
    pattern = r"(?:(?:cp\.async|wgmma)\.wait_group(?:\.sync\.aligned)?\s+\d+;\s*)+"
    yield from _replaced(ptx, pattern, "", "without the wait")


def wider_masks(ptx: str) -> Iterator[Mutation]:
    """Each size that indices are compared with, as if it were one more: all masks of a dimension
    let one index too many through."""
    sizes: dict[str, list[str]] = {}
    for register, parameter in re.findall(r"ld\.param\.[bus]32\s+(%r\d+), \[(\w+)\];", ptx):
        sizes.setdefault(parameter, []).append(register)
    for parameter, registers in sizes.items():
        wider = ptx
        for inside, one_more in (("lt", "le"), ("ge", "gt")):
            pattern = rf"setp\.{inside}(\.[su]32\s+%p\d+, %r\d+, (?:{'|'.join(registers)});)"
            wider = re.sub(pattern, rf"setp.{one_more}\1", wider)
        if wider != ptx:
            yield Mutation(f"one past {parameter}", wider, False)


def _replaced(ptx: str, pattern: str, replacement: str, fault: str) -> Iterator[Mutation]:
    loops = list(_loops(ptx))
    for number, match in enumerate(re.finditer(pattern, ptx)):
        mutated = ptx[: match.start()] + replacement + ptx[match.end() :]
        inside = any(start <= match.start() < end for start, end in loops)
        place = "in a loop" if inside else "outside of loops"
        yield Mutation(f"{fault} {number}, {place}", mutated, inside)


def _loops(ptx: str) -> Iterator[tuple[int, int]]:
    """Where loops begin and end: from a label to a branch back to it."""
    labels = {match[1]: match.start() for match in re.finditer(r"^(\$\w+):", ptx, re.MULTILINE)}
    for branch in re.finditer(r"bra(?:\.uni)?\s+(\$\w+);", ptx):
        start = labels[branch[1]]
        if start < branch.start():
            yield start, branch.end()
