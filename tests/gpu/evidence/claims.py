"""What a test proves of a kernel, said in its mark: `@proves(claims_of_its_parameters)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest

#: L0 and the claims of a whole kernel know no architecture.
ANY_ARCH = 0


class Claim(NamedTuple):
    """One variant of a kernel passes one rung, on an architecture (80 for sm_80)."""

    kernel: str
    variant: str
    rung: str
    arch: int = ANY_ARCH


ALL_CLAIMS = pytest.StashKey[set[Claim]]()


def proves(claims: Callable[..., Iterable[Claim]]) -> pytest.MarkDecorator:
    """Marks a test: when it passes, `claims(**parameters)` of its parameters hold.

    Fixtures with parameters count as parameters, by their names.
    """
    return pytest.mark.proves.with_args(claims)


def claims_of(item: pytest.Item) -> set[Claim]:
    """What this test proves when it passes."""
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    return {claim for mark in item.iter_markers("proves") for claim in mark.args[0](**parameters)}
