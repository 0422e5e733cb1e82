"""The record is written claim by claim, and forgets what was shown of other code."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from gpu.evidence.claims import Claim, claims_of, proves
from gpu.evidence.record import claims_in, record
from sparse_ovs.kernel_evidence import kernel_evidence

OF_SM_80 = Claim("kernel", "forward float16 64x64", "L1", 80)
OF_SM_90 = OF_SM_80._replace(arch=90)
INTERPRETED = Claim("kernel", "forward float16 64x64", "L0")
OTHER = Claim("other", "forward tf32", "L2", 100)


def code(kernel: str) -> tuple[str, str]:
    return f"digest of {kernel}", "Triton 9"


def test_claims_add_up(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    record(file, [OF_SM_90, INTERPRETED], code)
    record(file, [OF_SM_80, OTHER], code)
    assert claims_in(file) == {OF_SM_80, OF_SM_90, INTERPRETED, OTHER}
    entry = kernel_evidence(file)["kernel"]
    assert (entry.code, entry.compiler) == ("digest of kernel", "Triton 9")
    assert entry.variants == {"forward float16 64x64": {"L0": (), "L1": (80, 90)}}


@pytest.mark.parametrize("change", [("other code", "Triton 9"), ("digest of kernel", "Triton 10")])
def test_what_was_shown_of_other_code_is_dropped(tmp_path: Path, change: tuple[str, str]) -> None:
    file = tmp_path / "record.json"
    record(file, [OF_SM_80, OTHER], code)
    record(file, [OF_SM_90], lambda kernel: change)
    assert claims_in(file) == {OF_SM_90, OTHER}


def test_a_variant_takes_a_line(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    record(file, [OF_SM_80, OF_SM_80._replace(variant="forward tf32 64x64"), OTHER], code)
    lines = [line for line in file.read_text().splitlines() if "forward" in line]
    assert len(lines) == 3
    assert json.loads("{" + lines[0].strip(" ,") + "}") == {"forward float16 64x64": {"L1": [80]}}


def test_a_mark_says_what_a_test_with_its_parameters_proves() -> None:
    mark = proves(lambda variant, arch: [OF_SM_80._replace(variant=variant, arch=arch)]).mark
    item = SimpleNamespace(
        callspec=SimpleNamespace(params={"variant": "forward ieee", "arch": 86}),
        iter_markers=lambda name: [mark] if name == mark.name else [],
    )
    assert claims_of(item) == {Claim("kernel", "forward ieee", "L1", 86)}


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    for text in ("{", '{"kernel": {}}', '{"kernel": 3}', "[]"):
        file.write_text(text)
        with pytest.raises(ValueError, match="expected a record of kernels' evidence"):
            kernel_evidence(file)
