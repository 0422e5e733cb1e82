"""What a CPU has for int8, as the system tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from peer_runs.machine import int8_instructions


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("avx2 avx512_vnni amx_int8 avx_vnni", "AMX"),
        ("avx2 avx512_vnni", "AVX-512 VNNI"),
        ("avx2 avx_vnni", "AVX-VNNI"),
        ("avx2 avx512f", "none"),
    ],
)
def test_the_fastest_instructions_for_int8_are_named(tmp_path: Path, flags: str, name: str) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor : 0\nflags\t\t: fpu {flags}\nbugs :\n")
    assert int8_instructions(path) == name


def test_a_system_that_does_not_tell_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    assert int8_instructions(path) == "unknown"
    path.write_text("Features : asimd")
    assert int8_instructions(path) == "unknown"
