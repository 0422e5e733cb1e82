"""Lets an op's implementations work on a record: torch hands them its arguments one by one."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from inspect import signature
from typing import Any, TypeVar

Record = TypeVar("Record")
Result = TypeVar("Result")


def takes(
    record: Callable[..., Record],
) -> Callable[[Callable[[Record], Result]], Callable[..., Result]]:
    """Decorates an implementation: it gets `record` of the op's arguments, in the schema's order.

    So the arguments are spelled out in the schema, in the public function and in the record alone.
    """

    def decorate(run: Callable[[Record], Result]) -> Callable[..., Result]:
        @wraps(run)
        def flat(*arguments: Any) -> Result:
            return run(record(*arguments))

        return flat

    return decorate


def in_order(record: Callable[..., Any], **gradients: Any) -> tuple[Any, ...]:
    """What a backward pass returns: a gradient, or None, for each of the op's arguments."""
    return tuple(map(gradients.get, _names(record)))


@lru_cache
def _names(record: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(signature(record).parameters)
