"""Vocabularies: classes in words, each with its synonyms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Words = str | Sequence[str] | Sequence[Sequence[str]]


@dataclass(frozen=True)
class Vocabulary:
    """Classes in order, each a tuple of synonyms.

    Any classes of non-empty strings. A name may stand in several classes: it scores alike in all of
    them, and of equal scores the first class wins.

    Attributes:
        classes: synonyms by class.

    Raises:
        ValueError: no class, a class without synonyms, or an empty string.
        TypeError: something that is no string.
    """

    classes: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError("expected at least one class, got none")
        for index, synonyms in enumerate(self.classes):
            if not synonyms:
                raise ValueError(f"expected a name for class {index}, got none")
            for word in synonyms:
                if not isinstance(word, str):
                    raise TypeError(
                        f"expected strings in class {index}, got {type(word).__name__}: {word!r}"
                    )
                if not word.strip():
                    raise ValueError(f"expected a name in class {index}, got an empty string")

    @property
    def names(self) -> tuple[str, ...]:
        """The first synonym of each class."""
        return tuple(synonyms[0] for synonyms in self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def __str__(self) -> str:
        return "; ".join(", ".join(synonyms) for synonyms in self.classes)

    def index(self, name: str) -> int | None:
        """The class of that name (first synonym, case aside); None where there is none."""
        wanted = name.strip().casefold()
        for index, own in enumerate(self.names):
            if own.casefold() == wanted:
                return index
        return None

    @classmethod
    def parse(cls, words: Words | Vocabulary) -> Vocabulary:
        """Reads classes in words.

        Args:
            words: "cat, kitten; dog" (semicolons between classes, commas between synonyms); a list
                with a string of synonyms for each class, ["cat, kitten", "dog"], as published sets
                have them; a list of lists of synonyms, taken literally, commas too; or a
                Vocabulary, returned as it is. Names may repeat in lists, within a class and between
                classes: the first class wins. One string is what people type, and repeating there
                is a mistake.

        Raises:
            ValueError: no class, or an empty class or name; in one string also a name twice in a
                class, or a class all of whose names another class has too.
            TypeError: neither strings nor lists of strings.
        """
        if isinstance(words, Vocabulary):
            return words
        made = cls(_read(words))
        if isinstance(words, str):
            _check_distinct(made)
        return made


def _read(words: Words) -> tuple[tuple[str, ...], ...]:
    if isinstance(words, str):
        if not words.strip(" ,;\t\n"):
            raise ValueError(f"expected classes such as 'cat, kitten; dog', got {words!r}")
        return tuple(_split(part, index) for index, part in enumerate(words.split(";")))
    if not isinstance(words, Sequence):
        raise TypeError(
            "expected a string such as 'cat, kitten; dog' or a list of classes, got "
            f"{type(words).__name__}"
        )
    classes = []
    for index, entry in enumerate(words):
        if isinstance(entry, str):
            if ";" in entry:
                raise ValueError(f"expected one class an entry of the list, got {entry!r}")
            classes.append(_split(entry, index))
        elif isinstance(entry, Sequence):
            classes.append(tuple(word.strip() if isinstance(word, str) else word for word in entry))
        else:
            raise TypeError(
                f"expected a string or a list of strings for class {index}, got "
                f"{type(entry).__name__}: {entry!r}"
            )
    return tuple(classes)


def _split(text: str, index: int) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if not any(words):
        raise ValueError(f"expected a name for class {index}, got an empty one")
    if not all(words):
        raise ValueError(f"expected a name on both sides of each comma, got {text.strip()!r}")
    return words


def _check_distinct(vocabulary: Vocabulary) -> None:
    holders: dict[str, set[int]] = {}
    for index, synonyms in enumerate(vocabulary.classes):
        for word in synonyms:
            found = holders.setdefault(word.casefold(), set())
            if index in found:
                raise ValueError(f"expected each name once in a class, got {word!r} twice")
            found.add(index)
    for index, synonyms in enumerate(vocabulary.classes):
        others = set.intersection(*(holders[word.casefold()] for word in synonyms)) - {index}
        if others:
            raise ValueError(
                f"expected classes that can be told apart, got all names of class {index} "
                f"({', '.join(synonyms)!r}) in class {min(others)} too"
            )
