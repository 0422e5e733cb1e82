"""Kinds by name: what others may add to, with clear errors for what does not fit."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


class Registry(dict[str, type[T]], Generic[T]):
    """Subclasses of one class by their `name`, in the order in which they came.

    Args:
        base: what they are subclasses of.
        what: a word for them, such as "head".
        check: raises for one that lacks what else they need.
    """

    def __init__(
        self, base: type[T], what: str, check: Callable[[type[T]], None] = lambda kind: None
    ) -> None:
        super().__init__()
        self._base, self._what, self._check = base, what, check

    def add(self, kind: type[T]) -> type[T]:
        """Adds it under its `name`, and returns it.

        Raises:
            TypeError: no subclass, or one that lacks methods.
            ValueError: a name that is none, or that another one has.
        """
        if not (isinstance(kind, type) and issubclass(kind, self._base)):
            raise TypeError(f"expected a subclass of {self._base.__name__}, got {kind!r}")
        if inspect.isabstract(kind):
            missing: Any = kind.__abstractmethods__  # type: ignore[attr-defined]
            raise TypeError(
                f"expected a whole {self._what}, got {kind.__name__} without "
                f"{', '.join(sorted(missing))}"
            )
        name: Any = getattr(kind, "name", None)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(
                f"expected a `name` of letters, digits, '_', '-' and '.' for {self._what} "
                f"{kind.__name__}, got {name!r}"
            )
        self._check(kind)
        if name in self:
            raise ValueError(
                f"expected a new name for {self._what} {kind.__name__}, got {name!r}, which is "
                f"{self[name].__module__}.{self[name].__name__}"
            )
        self[name] = kind
        return kind

    def find(self, name: str) -> type[T]:
        """Raises ValueError for an unknown name."""
        if name not in self:
            raise ValueError(f"expected a {self._what} of {', '.join(self)}, got {name!r}")
        return self[name]
