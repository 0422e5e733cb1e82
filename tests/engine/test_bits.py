"""No change moves a bit: outputs of narrow encoders against hashes that an older commit stored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STORED: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("bits.json").read_bytes())


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, str]]:
    """Hashes by ISA and encoder."""
    done = subprocess.run(
        [sys.executable, "-P", Path(__file__).with_name("bits.py")],
        env={name: value for name, value in os.environ.items() if name != "SPARSE_OVS_ISA"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


INT8 = ["resnet int8, 1 threads", "resnet int8, 2 threads"]


@pytest.mark.parametrize("encoder", ["resnet", "vit", "convnext", *INT8])
@pytest.mark.parametrize("isa", ["generic", "avx2", "avx512", "neon"])
def test_outputs_have_the_bits_that_they_had(
    found: dict[str, dict[str, str]], isa: str, encoder: str
) -> None:
    if isa not in found:
        pytest.skip(f"expected a CPU with {isa}, got one with {', '.join(found)}")
    if isa not in STORED:
        pytest.skip(f"expected hashes of {isa} in bits.json, got those of {', '.join(STORED)}")
    assert found[isa][encoder] == STORED[isa][encoder]


def test_int8_has_the_same_bits_on_every_isa_and_number_of_threads(
    found: dict[str, dict[str, str]],
) -> None:
    assert len({found[isa][encoder] for isa in found for encoder in INT8}) == 1
    assert len({STORED[isa][encoder] for isa in STORED for encoder in INT8}) == 1
