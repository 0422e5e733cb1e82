"""Tasks by name: what a predictor makes of a picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from PIL import Image

from sparse_ovs.registry import Registry

P = TypeVar("P")


class Task(ABC, Generic[P]):
    """One kind of result. A subclass is a dataclass whose fields are the task's options; each call
    of `Predictor.run` makes one.

    Attributes:
        name: in the registry, such as "panoptic".
        needs: the class of predictors that can do it.
    """

    name: ClassVar[str]
    needs: ClassVar[type]

    def check(self, predictor: P) -> None:
        """Raises ValueError for a predictor of that class that cannot do it all the same; called
        before words are embedded."""

    @abstractmethod
    def start(self, predictor: P) -> Callable[[Image.Image], Any]:
        """What makes a result of one picture (RGB, upright); called when words are embedded.

        Raises:
            ValueError, TypeError: options that do not fit the vocabulary.
        """


def _check(kind: type[Task[Any]]) -> None:
    needs = getattr(kind, "needs", None)
    if not isinstance(needs, type):
        raise TypeError(
            f"expected the predictor's class that task {kind.__name__} `needs`, got {needs!r}"
        )


_REGISTRY: Registry[Task[Any]] = Registry(Task, "task", _check)  # type: ignore[type-abstract]
TASKS: dict[str, type[Task[Any]]] = _REGISTRY
TaskType = TypeVar("TaskType", bound=type[Task[Any]])


def register_task(kind: TaskType) -> TaskType:
    """Makes a task known by its `name` to `Predictor.run`. As a decorator of the class, or called
    with it.

    Args:
        kind: a subclass of Task that sets `name` and `needs`; `name` is new, of letters, digits,
            "_", "-" and ".".

    Returns:
        The same class.

    Raises:
        TypeError: no such class, or one that lacks `start` or `needs`.
        ValueError: a name that is none, or that another task has.
    """
    _REGISTRY.add(kind)
    return kind


def find_task(name: str) -> type[Task[Any]]:
    """Raises ValueError for an unknown name."""
    return _REGISTRY.find(name)
