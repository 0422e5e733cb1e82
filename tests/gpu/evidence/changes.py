"""What has changed since its tests passed. While nothing has, they cost the default run nothing."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from gpu.emulation.budgets import replaced
from gpu.evidence.digests import c_code, digest, python_code
from sparse_ovs.kernel_evidence import kernel_evidence

EMULATOR = "emulator"
#: Digest of the emulator and of its tests, when these passed.
EMULATOR_FILE = Path(__file__).with_name("emulator.json")
_GPU = Path(__file__).parents[1]


def rests_on(*names: str) -> pytest.MarkDecorator:
    """Marks a test that emulates or compiles these kernels, or that tests the emulator: it is slow
    until the code of one of them is no longer the recorded one."""
    return pytest.mark.rests_on(*names)


def is_slow(item: pytest.Item) -> bool:
    """Nothing that the test rests on, if its marks say what, has changed."""
    names = [name for mark in item.iter_markers("rests_on") for name in mark.args]
    return bool(names) and not any(map(changed, names))


@cache
def changed(name: str) -> bool:
    """Whether a kernel, or the emulator, is not what the record was made of.

    What cannot be read, without Triton, counts as changed: its tests are skipped and say why.
    """
    if name == EMULATOR:
        return json.loads(EMULATOR_FILE.read_text())["code"] != emulator_code()
    try:
        from gpu.evidence.shipped import code_of
    except ImportError:
        return True
    return kernel_evidence()[name].code != code_of(name)


def emulator_code() -> str:
    """Digest of the emulator's sources and of its tests."""
    files = sorted(file for part in ("emulation", "tools") for file in (_GPU / part).rglob("*.*"))
    return digest(
        python_code(file.read_text()) if file.suffix == ".py" else c_code(file.read_text())
        for file in files
        if file.suffix in (".py", ".h")
    )


def record_emulator() -> None:
    """Its tests have passed as it is now."""
    replaced(EMULATOR_FILE, json.dumps({"code": emulator_code()}) + "\n")
