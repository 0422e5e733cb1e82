"""Raw ids become classes; what is neither a class nor known to be none is found."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.data.dataset import IGNORE
from sparse_ovs.data.ids import IdMap

raw_ids = st.integers(-5, 70_000)


@given(
    classes=st.dictionaries(st.integers(0, 66_000), st.integers(0, 900), max_size=8),
    ids=st.lists(raw_ids, min_size=1, max_size=30),
)
def test_every_id_gets_its_class_and_all_others_none(
    classes: dict[int, int], ids: list[int]
) -> None:
    known = [*classes, *ids]
    found = IdMap(classes).labels(np.array([known]))
    assert found.dtype == np.int32
    assert found.tolist() == [[classes.get(raw, IGNORE) for raw in known]]


def test_unsigned_ids_of_all_widths_are_mapped() -> None:
    ids = IdMap({255: 1, 65535: 2})
    assert ids.labels(np.array([0, 255], np.uint8)).tolist() == [IGNORE, 1]
    assert ids.labels(np.array([0, 65535], np.uint16)).tolist() == [IGNORE, 2]


def test_unknown_ids_are_counted() -> None:
    ids = IdMap({1: 0, 2: 1}, ignored=(0, 255))
    assert ids.unknown(np.array([[0, 1, 2], [255, 9, 9], [-4, 1, 2]])) == {-4: 1, 9: 2}


def test_a_class_counts_even_where_its_id_is_usually_ignored() -> None:
    ids = IdMap.counted(300)
    assert ids.labels(np.array([255])).tolist() == [255]
    assert 255 not in ids.ignored
