"""The evidence for the GPU kernels as a table: `sparse-ovs info --kernels`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from rich.table import Table

from sparse_ovs.kernel_evidence import RUNGS, KernelEvidence, variant_parts

_NEVER = "never run on a GPU"


def kernel_table(record: Mapping[str, KernelEvidence]) -> Table:
    """A row for each kernel and dtype; a rung's cell has the architectures on which all of the
    row's variants passed it, and in brackets those on which only some did."""
    table = Table("kernel", "dtype", "directions", "tiles", box=None, pad_edge=False)
    for rung in RUNGS:
        table.add_column(rung)
    for kernel, evidence in record.items():
        for dtype, variants in _by_dtype(evidence.variants).items():
            parts = [variant_parts(variant) for variant in variants]
            table.add_row(
                kernel,
                dtype,
                ", ".join(_unique(part.direction.replace("_", " ") for part in parts)),
                ", ".join(_unique(part.tile for part in parts if part.tile)),
                *(_cell(rung, [evidence.variants[v] for v in variants]) for rung in RUNGS),
            )
    return table


def explanation(record: Mapping[str, KernelEvidence]) -> list[str]:
    """What the columns mean, and what compiled the kernels."""
    lines = [f"{rung}  {text}" for rung, text in RUNGS.items()]
    compilers = _unique(evidence.compiler for evidence in record.values())
    return [*lines, f"Compiled by {', '.join(compilers)}; architectures are sm_NN."]


def _by_dtype(variants: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for variant in variants:
        found.setdefault(variant_parts(variant).dtype, []).append(variant)
    return found


def _cell(rung: str, variants: Collection[Mapping[str, tuple[int, ...]]]) -> str:
    passed = [variant[rung] for variant in variants if rung in variant]
    if not passed:
        return _NEVER if rung == "GPU" else "-"
    everywhere = len(passed) == len(variants)
    archs = sorted({arch for some in passed for arch in some})
    if not archs:
        return "passed" if everywhere else "(passed)"
    whole = [arch for arch in archs if sum(arch in some for some in passed) == len(variants)]
    partly = [arch for arch in archs if arch not in whole]
    texts = [str(arch) for arch in whole] + [f"({arch})" for arch in partly]
    return " ".join(texts)


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
