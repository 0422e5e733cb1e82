"""The thread count: what was set, else the environment, else torch's."""

from __future__ import annotations

import pytest
import torch

from sparse_ovs import get_num_threads, set_num_threads

VARIABLE = "SPARSE_OVS_NUM_THREADS"


def test_the_count_follows_torch() -> None:
    before = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert get_num_threads() == count
    finally:
        torch.set_num_threads(before)


def test_the_environment_goes_before_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "7")
    assert get_num_threads() == 7


def test_a_set_count_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "7")
    set_num_threads(3)
    assert get_num_threads() == 3


def test_none_follows_the_environment_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "7")
    set_num_threads(3)
    set_num_threads(None)
    assert get_num_threads() == 7


@pytest.mark.parametrize("count", [0, -1, 1.0, "2", True])
def test_a_count_that_is_no_positive_integer_is_refused(count: object) -> None:
    set_num_threads(2)
    with pytest.raises(ValueError, match="expected a thread count of at least 1, got "):
        set_num_threads(count)  # type: ignore[arg-type]
    assert get_num_threads() == 2


@pytest.mark.parametrize("text", ["0", "-1", "two", "", "1.5", " 2"])
def test_a_bad_environment_variable_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=f"expected {VARIABLE} to be a positive integer, got "):
        get_num_threads()
