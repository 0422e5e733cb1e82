"""Writes the record of evidence, `sparse_ovs/kernel_evidence.json`, as tests pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gpu.emulation.budgets import locked, replaced
from gpu.evidence.claims import ANY_ARCH, Claim


def record(file: Path, claims: Iterable[Claim], tested: Callable[[str], tuple[str, str]]) -> None:
    """Adds claims to the record. Several processes may do so at once.

    Args:
        tested: digest and compiler of a kernel; what was recorded for others of them is dropped.
    """
    with locked(file):
        kernels: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        for claim in claims:
            code, compiler = tested(claim.kernel)
            entry = kernels.get(claim.kernel)
            if entry is None or (entry["code"], entry["compiler"]) != (code, compiler):
                entry = {"code": code, "compiler": compiler, "variants": {}}
                kernels[claim.kernel] = entry
            rungs = entry["variants"].setdefault(claim.variant, {})
            archs = {*rungs.get(claim.rung, ()), claim.arch} - {ANY_ARCH}
            rungs[claim.rung] = sorted(archs)
        replaced(file, _text(kernels))


def claims_in(file: Path) -> set[Claim]:
    """Everything that a record holds."""
    return {
        Claim(kernel, variant, rung, arch)
        for kernel, entry in json.loads(file.read_text()).items()
        for variant, rungs in entry["variants"].items()
        for rung, archs in rungs.items()
        for arch in archs or [ANY_ARCH]
    }


def _text(kernels: dict[str, Any]) -> str:
    """JSON with a line for each variant, so that differences read well."""
    blocks = []
    for kernel, entry in sorted(kernels.items()):
        variants = ",\n".join(
            f"   {json.dumps(variant)}: {json.dumps(dict(sorted(rungs.items())))}"
            for variant, rungs in sorted(entry["variants"].items())
        )
        lines = (
            f" {json.dumps(kernel)}: {{",
            f'  "code": {json.dumps(entry["code"])},',
            f'  "compiler": {json.dumps(entry["compiler"])},',
            f'  "variants": {{\n{variants}\n  }}\n }}',
        )
        blocks.append("\n".join(lines))
    return "{\n" + ",\n".join(blocks) + "\n}\n"
