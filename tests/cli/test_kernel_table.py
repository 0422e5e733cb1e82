"""`sparse-ovs info --kernels`: what each cell says."""

from __future__ import annotations

import pytest
from rich.console import Console
from typer.testing import CliRunner

from sparse_ovs.cli.app import app
from sparse_ovs.cli.kernel_table import explanation, kernel_table
from sparse_ovs.kernel_evidence import (
    RUNGS,
    KernelEvidence,
    VariantParts,
    kernel_evidence,
    variant_parts,
)

RECORD = {
    "bsr_linear": KernelEvidence(
        "0123",
        "Triton 9",
        {
            "forward float16 64x64": {"L0": (), "L1": (80, 90), "L2": (80, 86, 90)},
            "weight_gradient float16 32x32": {"L0": (), "L1": (80,), "L2": (80, 86)},
            "forward ieee 16x16": {"L1": (80,)},
        },
    ),
    "csr_direct": KernelEvidence("4567", "NVRTC 8", {"forward float32": {"GPU": (90,)}}),
}


def rows(record: dict[str, KernelEvidence]) -> dict[tuple[str, str], dict[str, str]]:
    """Cells by kernel and dtype, and by column."""
    table = kernel_table(record)
    columns = {str(column.header): list(column.cells) for column in table.columns}
    found = {}
    for i in range(table.row_count):
        row = {name: str(cells[i]) for name, cells in columns.items()}
        found[row["kernel"], row["dtype"]] = row
    return found


def test_a_row_says_which_architectures_all_its_variants_passed_and_which_some() -> None:
    row = rows(RECORD)["bsr_linear", "float16"]
    assert row["directions"] == "forward, weight gradient"
    assert row["tiles"] == "64x64, 32x32"
    assert (row["L0"], row["L1"], row["L2"]) == ("passed", "80 (90)", "80 86 (90)")
    assert row["L3"] == "-"


def test_a_kernel_that_no_gpu_ran_says_so() -> None:
    found = rows(RECORD)
    assert found["bsr_linear", "float16"]["GPU"] == "never run on a GPU"
    assert found["csr_direct", "float32"]["GPU"] == "90"
    assert found["csr_direct", "float32"]["tiles"] == ""


def test_a_rung_that_only_some_variants_passed_is_in_brackets() -> None:
    variants = {"forward tf32 16x16": {"L0": ()}, "forward tf32 32x32": {"L1": (80,)}}
    row = rows({"kernel": KernelEvidence("", "", variants)})["kernel", "tf32"]
    assert (row["L0"], row["L1"]) == ("(passed)", "(80)")


def test_every_rung_and_compiler_is_explained() -> None:
    lines = explanation(RECORD)
    assert [line.split()[0] for line in lines[: len(RUNGS)]] == list(RUNGS)
    assert "Triton 9, NVRTC 8" in lines[-1]


@pytest.mark.parametrize(
    ("variant", "parts"),
    [
        ("weight_gradient tf32 64x64", VariantParts("weight_gradient", "tf32", "64x64")),
        ("forward linear bfloat16 64x32", VariantParts("forward linear", "bfloat16", "64x32")),
        ("forward float16", VariantParts("forward", "float16", "")),
    ],
)
def test_a_variant_is_taken_apart(variant: str, parts: VariantParts) -> None:
    assert variant_parts(variant) == parts


def test_a_variant_without_a_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a variant with its dtype, got 'forward 64x64'"):
        variant_parts("forward 64x64")


def test_the_command_prints_every_kernel_of_the_record_and_claims_no_gpu() -> None:
    shown = CliRunner().invoke(app, ["info", "--kernels"])
    assert shown.exit_code == 0
    for kernel in kernel_evidence():
        assert kernel in shown.output
    assert "never run on a GPU" in shown.output
    assert "L1  emulated" in shown.output


def test_the_table_fits_an_ordinary_wide_console() -> None:
    console = Console(width=160, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(kernel_table(kernel_evidence()))
    assert "…" not in capture.get()
