"""What a machine lacks is told as the reason for a skip."""

from __future__ import annotations

import pytest

from gpu.emulation import requirements


def test_nothing_is_missing_where_everything_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(requirements, "find_spec", lambda name: object())
    assert requirements.missing_compiler() is None
    assert requirements.missing_triton() is None


def test_each_tool_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements.shutil, "which", lambda name: None)
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    assert requirements.missing_compiler() == "needs g++, which is not installed"
    assert requirements.missing_triton() == "needs triton, which is not installed"
    assert requirements.missing_nvrtc() == "needs cuda-bindings, which is not installed"
    assert requirements.cuda_headers() == []
