"""Lists of names: their forms, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sparse_ovs.data.name_files import (
    read_id_table,
    read_name_list,
    read_numbered_names,
    read_object_info,
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        (tmp_path / "list").write_text(text)
        return tmp_path / "list"

    return written


Write = Callable[[str], Path]


def test_a_list_has_one_class_a_line(write: Write) -> None:
    assert read_name_list(write("cat, kitten\r\n dog \n\n")) == ("cat, kitten", "dog")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got an empty file"),
        ("cat\n\ndog\n", "a name in every line of .*, got none in line 2"),
        ("cat\n", "expected 2 classes in .*, got 1"),
    ],
)
def test_lists_with_holes_are_refused(text: str, message: str, write: Write) -> None:
    with pytest.raises(ValueError, match=message):
        read_name_list(write(text), 2)


def test_numbered_names_keep_their_numbers(write: Write) -> None:
    assert read_numbered_names(write("2: hot-air balloon\n\n10:sky\n")) == {
        2: "hot-air balloon",
        10: "sky",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1: a\nsky\n", "expected `id: name` in line 2 of .*, got 'sky'"),
        ("1: a\n1: b\n", "expected each id once in .*, got 1 twice"),
        ("1: a\n", "expected 2 classes in .*, got 1"),
    ],
)
def test_other_forms_of_numbered_names_are_refused(text: str, message: str, write: Write) -> None:
    with pytest.raises(ValueError, match=message):
        read_numbered_names(write(text), 2)


def test_object_info_needs_all_150_rows(write: Write) -> None:
    rows = "".join(f"{k}\t0.1\twall; {k}\n" for k in range(1, 150))
    with pytest.raises(ValueError, match=r"expected the indices 1 to 150 in .*, got 149 rows"):
        read_object_info(write(rows))
    assert read_object_info(write(f"Idx\tRatio\tName\n{rows}150\t0\tflag\n"))[148:] == (
        "wall, 149",
        "flag",
    )


@pytest.mark.parametrize(
    "text",
    [
        "7: sky\n3: road\n",
        '[{"id": 3, "name": "road", "trainId": 1}, {"id": 7, "name": "sky", "trainId": 0}]',
        '[{"id": 7, "name": "sky"}, {"id": 3, "name": "road"}]',
    ],
)
def test_tables_give_ids_and_names_in_the_order_of_the_classes(text: str, write: Write) -> None:
    assert read_id_table(write(text), 2) == [(7, "sky"), (3, "road")]


def test_tables_may_be_of_ids_only(write: Write) -> None:
    assert read_id_table(write("7\n3\n"), 2) == [(7, None), (3, None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7\nsky\n", "expected `id` or `id: name` in line 2"),
        ("7\n7\n", "expected each id once in .*, got 7 twice"),
        ("7\n", "expected 2 classes in .*, got 1"),
        ('[{"name": "sky"}]', "expected a JSON list of objects with id, name, trainId"),
        ('[{"id": 7, "trainId": 4}]', "trainId is not 0, 1, 2"),
        ("[1, 2]", "expected a JSON list of objects with id, name, trainId"),
    ],
)
def test_other_forms_of_tables_are_refused(text: str, message: str, write: Write) -> None:
    with pytest.raises(ValueError, match=message):
        read_id_table(write(text), 2)


def test_lists_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"expected text in UTF-8, got .*list"):
        read_name_list(tmp_path / "list")
    with pytest.raises(ValueError, match=r"expected a list of names at .*gone, got no such file"):
        read_name_list(tmp_path / "gone")
