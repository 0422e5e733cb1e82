"""Run-length codes against an own encoder, and against pycocotools where it is installed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from data.miniature.runs import encode, run_lengths
from sparse_ovs.data.rle import decode_rle

sides = st.integers(1, 40)
masks = arrays.arrays(bool, st.tuples(sides, sides), elements=st.booleans(), fill=st.just(False))


@given(masks)
def test_decoding_gives_the_mask_that_was_encoded(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_rle(mask.shape, encode(mask)), mask)
    np.testing.assert_array_equal(decode_rle(mask.shape, encode(mask).encode()), mask)
    np.testing.assert_array_equal(decode_rle(mask.shape, run_lengths(mask)), mask)


def test_long_runs_take_several_characters() -> None:
    mask = np.zeros((700, 900), bool)
    mask[100:650, 5:880] = True
    mask[300, 400] = False
    np.testing.assert_array_equal(decode_rle(mask.shape, encode(mask)), mask)


def test_a_known_string_is_read() -> None:
    # 6 zeros, 1 one, 40 = 8 + 32 zeros in two groups, then 4 ones as 1 + 3, 5 zeros as 40 - 35:
    # 6 -> "6", 1 -> "1", 40 -> 8 | 0x20 -> "X", 1 -> "1", 3 -> "3", -35 -> 29 | 0x20 -> "m", -2 ->
    # 30 -> "N".
    found = decode_rle((8, 7), "61X13mN")
    assert found.T.ravel().nonzero()[0].tolist() == [6, 47, 48, 49, 50]


@given(masks)
def test_codes_are_those_of_pycocotools(mask: np.ndarray) -> None:
    tools = pytest.importorskip("pycocotools.mask")
    code = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    np.testing.assert_array_equal(decode_rle(code["size"], code["counts"]), mask)


@pytest.mark.parametrize("counts", [[3], [2, 5], [7, -1], "", []])
def test_runs_that_do_not_fill_the_mask_are_refused(counts: list[int] | str) -> None:
    with pytest.raises(ValueError, match="expected runs that fill 2x3 pixels, got"):
        decode_rle((2, 3), counts)
