"""The list of things: as many as are promised, each with a name and pictures of its own."""

from collections import Counter

from sparse_ovs.data.emoji import CONCEPTS


def test_there_are_200_of_which_heads_are_asked_for_100() -> None:
    assert Counter(concept.role for concept in CONCEPTS) == {"seen": 80, "unseen": 20, "clip": 100}


def test_no_two_share_a_name_or_an_emoji() -> None:
    assert len({concept.name for concept in CONCEPTS}) == 200
    codes = [code for concept in CONCEPTS for code in concept.codes]
    assert len(set(codes)) == len(codes)


def test_names_are_lower_case_words_and_codes_are_hexadecimal() -> None:
    for concept in CONCEPTS:
        assert all(word.isalpha() and word.islower() for word in concept.name.split())
        assert all(int(code, 16) > 127 and code == code.lower() for code in concept.codes)
