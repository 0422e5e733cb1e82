"""Tests that rest on a kernel are slow as long as the record holds its code."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from gpu.evidence import changes
from gpu.evidence.changes import EMULATOR, is_slow, rests_on
from gpu.evidence.digests import c_code, digest, python_code


@pytest.fixture
def changing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Which kernels have changed, in this test."""
    return lambda *names: monkeypatch.setattr(changes, "changed", lambda name: name in names)


def item(*marks: pytest.MarkDecorator) -> SimpleNamespace:
    return SimpleNamespace(
        iter_markers=lambda name: [each.mark for each in marks if each.mark.name == name]
    )


def test_a_test_of_what_is_recorded_is_slow(changing: Callable[..., None]) -> None:
    changing()
    assert is_slow(item(rests_on("bsr_linear", EMULATOR)))


@pytest.mark.parametrize("name", ["bsr_linear", EMULATOR])
def test_one_change_is_enough_to_run_it_by_default(
    changing: Callable[..., None], name: str
) -> None:
    changing(name)
    assert not is_slow(item(rests_on("bsr_linear"), rests_on(EMULATOR)))


def test_a_test_that_rests_on_nothing_runs_by_default(changing: Callable[..., None]) -> None:
    changing()
    assert not is_slow(item(pytest.mark.gpu))


def test_a_kernel_with_another_digest_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = pytest.importorskip("gpu.evidence.shipped", reason="needs triton")
    assert not changes.changed.__wrapped__("bsr_linear")
    monkeypatch.setattr(shipped, "code_of", lambda kernel: "another digest")
    assert changes.changed.__wrapped__("bsr_linear")


def test_an_emulator_with_another_digest_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not changes.changed.__wrapped__(EMULATOR)
    monkeypatch.setattr(changes, "emulator_code", lambda: "another digest")
    assert changes.changed.__wrapped__(EMULATOR)


def test_comments_docstrings_and_layout_are_no_part_of_a_digest() -> None:
    plain = "def f(x):\n    return x + 1\n"
    worded = 'def f(x):\n    """Adds."""\n    return (x +\n        1)  # one\n'
    assert python_code(plain) == python_code(worded) != python_code("def f(x):\n    return x\n")
    assert c_code("int a;  // one\n\n  int b;") == c_code("int a; int b;") != c_code("int a;")
    assert digest(["ab", "c"]) != digest(["a", "bc"])
