import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import UsageError
from listener.evaluate.confusables.phonetics import (
    SYMBOLS,
    Phones,
    build_lexicon,
    deletion_cost,
    entries,
    find_dictionary,
    is_phone,
    measure_distances,
    parse_phones,
    pronounce,
    reverse_lexicon,
    substitution_cost,
)

phones = st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=6).map(tuple)


def plain_distance(one: Phones, other: Phones) -> float:
    """Levenshtein as in every book, one cell after the other."""
    table = [[0.0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one, 1):
        table[i][0] = table[i - 1][0] + deletion_cost(a)
    for j, b in enumerate(other, 1):
        table[0][j] = table[0][j - 1] + deletion_cost(b)
    for (i, a), (j, b) in itertools.product(enumerate(one, 1), enumerate(other, 1)):
        table[i][j] = min(
            table[i - 1][j - 1] + substitution_cost(a, b),
            table[i - 1][j] + deletion_cost(a),
            table[i][j - 1] + deletion_cost(b),
        )
    return table[-1][-1]


@given(st.lists(phones, max_size=8), phones)
def test_batch_distances_equal_single_distances(words: list[Phones], target: Phones) -> None:
    known = build_lexicon([(str(index), word) for index, word in enumerate(words)])

    found = measure_distances(known, target)

    assert found.shape == (len(words), len(target) + 1)
    for row, word in enumerate(words):
        for length in range(len(target) + 1):
            assert found[row, length] == pytest.approx(
                plain_distance(word, target[:length]), abs=1e-4
            )


def test_substitution_cost_is_symmetric_and_at_most_one() -> None:
    for one, other in itertools.product(SYMBOLS, repeat=2):
        cost = substitution_cost(one, other)

        assert cost == substitution_cost(other, one)
        assert 0 <= cost <= 1
        assert (cost == 0) == (one == other or {one[:-1] + s for s in "12"} == {one, other})


@pytest.mark.parametrize(
    ("near", "far"),
    [
        (("P", "B"), ("P", "Z")),
        (("S", "Z"), ("S", "M")),
        (("IY1", "IH1"), ("IY1", "AA1")),
        (("T", "CH"), ("T", "HH")),
        (("L", "R"), ("L", "S")),
        (("AH0", "AH1"), ("AH0", "AO1")),
        (("ER0", "R"), ("ER0", "K")),
        (("UW1", "W"), ("UW1", "T")),
    ],
)
def test_similar_phones_cost_less(near: tuple[str, str], far: tuple[str, str]) -> None:
    assert substitution_cost(*near) < substitution_cost(*far)


def test_weak_phones_have_a_lower_deletion_cost() -> None:
    assert deletion_cost("AH0") < deletion_cost("AH1")
    assert deletion_cost("HH") < deletion_cost("S")


def test_words_with_unknown_phones_are_omitted() -> None:
    known = build_lexicon([("a", ("AH0",)), ("b", ("QQ",)), ("c", ())])

    assert known.words == ("a",)
    assert known.phones(0) == ("AH0",)


@given(st.lists(phones, max_size=8))
def test_reversing_a_lexicon_twice_is_the_identity(words: list[Phones]) -> None:
    known = build_lexicon([(str(index), word) for index, word in enumerate(words)])

    turned = reverse_lexicon(known)

    assert [turned.phones(row)[::-1] for row in range(len(words))] == words
    assert np.array_equal(reverse_lexicon(turned).codes, known.codes)


@pytest.mark.parametrize(
    ("phone", "expected"), [("AH0", True), ("K", True), ("AH", False), ("K1", False), ("", False)]
)
def test_phones_are_recognised(phone: str, *, expected: bool) -> None:
    assert is_phone(phone) is expected if phone else not phone


TEXT = """a AH0
a(2) EY1
alexa AH0 L EH1 K S AH0
hey HH EY1 # place, danish
jarvis JH AA1 R V AH0 S
'em AH0 M
1990s N AY1
é AH0
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cmudict.dict"
    path.write_text(TEXT, "utf-8")
    return path


def test_entries_are_words_with_their_phones(file: Path) -> None:
    assert list(entries(file)) == [
        ("a", ("AH0",)),
        ("a", ("EY1",)),
        ("alexa", ("AH0", "L", "EH1", "K", "S", "AH0")),
        ("hey", ("HH", "EY1")),
        ("jarvis", ("JH", "AA1", "R", "V", "AH0", "S")),
        ("'em", ("AH0", "M")),
    ]


@pytest.mark.parametrize("text", ["hey jarvis", "hey-jarvis", "Hey_Jarvis"])
def test_phrase_pronunciation_concatenates_its_words(file: Path, text: str) -> None:
    assert pronounce(file, text) == ("HH", "EY1", "JH", "AA1", "R", "V", "AH0", "S")


def test_word_missing_from_the_dictionary_is_an_error(file: Path) -> None:
    with pytest.raises(UsageError, match="'mycroft' is not in the CMU dictionary") as caught:
        pronounce(file, "hey mycroft")
    assert "--phones" in caught.value.hint


def test_phones_are_parsed_in_dictionary_notation() -> None:
    assert parse_phones("ah0 l EH1  k s ah0") == ("AH0", "L", "EH1", "K", "S", "AH0")


@pytest.mark.parametrize("text", ["", "AH", "K1", "XX", "AH3"])
def test_invalid_phone_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="phone"):
        parse_phones(text)


def test_installed_dictionary_has_common_words() -> None:
    path = find_dictionary()

    assert pronounce(path, "alexa") == ("AH0", "L", "EH1", "K", "S", "AH0")
    assert sum(1 for _ in entries(path)) > 120_000
