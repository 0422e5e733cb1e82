"""Vocabularies: what people type, and what is refused in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.text import Vocabulary


@pytest.mark.parametrize(
    "words",
    [
        "cat, kitten; dog",
        " cat ,kitten ;\n dog ",
        ["cat, kitten", "dog"],
        ("cat,kitten", " dog"),
        [["cat", "kitten"], ["dog"]],
        [("cat", " kitten"), "dog"],
    ],
)
def test_strings_and_lists_say_the_same(words: Any) -> None:
    vocabulary = Vocabulary.parse(words)
    assert vocabulary.classes == (("cat", "kitten"), ("dog",))
    assert vocabulary.names == ("cat", "dog")
    assert len(vocabulary) == 2


def test_a_list_of_lists_is_taken_literally() -> None:
    assert Vocabulary.parse([["salt, and pepper; mixed"]]).names == ("salt, and pepper; mixed",)


def test_a_vocabulary_is_returned_as_it_is() -> None:
    vocabulary = Vocabulary((("cat",), ("cat",)))
    assert Vocabulary.parse(vocabulary) is vocabulary


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ("", ValueError, "expected classes such as 'cat, kitten; dog', got ''"),
        (" ; ,", ValueError, "expected classes such as .* got ' ; ,'"),
        ("cat;;dog", ValueError, "expected a name for class 1, got an empty one"),
        ("cat;", ValueError, "expected a name for class 1, got an empty one"),
        ("cat,,kitten", ValueError, "expected a name on both sides of each comma, got 'cat,,kit"),
        ("cat, ; dog", ValueError, "expected a name on both sides of each comma, got 'cat,'"),
        ([], ValueError, "expected at least one class, got none"),
        ([""], ValueError, "expected a name for class 0, got an empty one"),
        (["cat", []], ValueError, "expected a name for class 1, got none"),
        ([["cat", " "]], ValueError, "expected a name in class 0, got an empty string"),
        (["cat; dog"], ValueError, "expected one class an entry of the list, got 'cat; dog'"),
        (["cat", 3], TypeError, "expected a string or a list of strings for class 1, got int: 3"),
        ([["cat", None]], TypeError, "expected strings in class 0, got NoneType: None"),
        (None, TypeError, "expected a string such as .* got NoneType"),
        ({"cat": 1}, TypeError, "expected a string such as .* got dict"),
        ("cat, cat", ValueError, "expected each name once in a class, got 'cat' twice"),
        ("cat; dog; Cat", ValueError, "got all names of class 0 .*'cat'.* in class 2 too"),
        ("cat, kitten; kitten", ValueError, "got all names of class 1 .*'kitten'.* in class 0 to"),
    ],
)
def test_what_is_no_vocabulary_is_told(words: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Vocabulary.parse(words)


def test_classes_may_share_a_synonym_where_each_has_one_of_its_own() -> None:
    words = ["screen door, screen", "screen, silver screen"]
    assert len(Vocabulary.parse(words)) == 2


def test_lists_as_published_sets_have_them_are_taken_whole() -> None:
    """Names between commas with or without a blank, twice in a class, or in another class too."""
    published = ["stove,kitchen range, kitchen range", "door,double door", "double door", "Door"]
    assert Vocabulary.parse(published).classes == (
        ("stove", "kitchen range", "kitchen range"),
        ("door", "double door"),
        ("double door",),
        ("Door",),
    )
    assert Vocabulary.parse([["cat"], ["cat"]]).names == ("cat", "cat")


def test_published_classes_are_taken_as_they_are() -> None:
    assert Vocabulary((("crane",), ("crane",))).names == ("crane", "crane")


def test_a_class_is_found_by_its_name_whatever_the_case() -> None:
    vocabulary = Vocabulary.parse("cat, kitten; Dog")
    assert vocabulary.index(" dog ") == 1
    assert vocabulary.index("kitten") is None


_ending = st.text("XYZ -'é").map(str.rstrip)


@given(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=9, unique=True), st.data())
def test_what_is_printed_reads_back(letters: list[str], data: st.DataObject) -> None:
    words = [letter + data.draw(_ending) for letter in letters]
    cuts = data.draw(st.lists(st.integers(1, 3), min_size=len(words), max_size=len(words)))
    classes = []
    while words:
        size = cuts.pop()
        classes.append(tuple(words[:size]))
        words = words[size:]
    vocabulary = Vocabulary(tuple(classes))
    assert Vocabulary.parse(str(vocabulary)) == vocabulary
