import itertools

import pytest

from listener.evaluate.confusables.phonetics import (
    Lexicon,
    build_lexicon,
    deletion_cost,
    measure_distances,
)
from listener.evaluate.confusables.search import find_nearest

ALEXA = ("AH0", "L", "EH1", "K", "S", "AH0")
WORDS = {
    "alexa": ALEXA,
    "alexas": (*ALEXA, "Z"),
    "lex": ("L", "EH1", "K", "S"),
    "lecks": ("L", "EH1", "K", "S"),
    "a": ("AH0",),
    "uh": ("AH1",),
    "rex": ("R", "EH1", "K", "S"),
    "election": ("IH0", "L", "EH1", "K", "SH", "AH0", "N"),
    "banana": ("B", "AH0", "N", "AE1", "N", "AH0"),
}


@pytest.fixture
def known() -> Lexicon:
    return build_lexicon(list(WORDS.items()))


def test_neighbours_are_sorted_by_distance(known: Lexicon) -> None:
    found = find_nearest(known, ALEXA, 10, pairs=False)

    assert [each.phrase for each in found][:3] == ["lex", "rex", "election"]
    assert [each.distance for each in found] == sorted(each.distance for each in found)


def test_phrases_that_contain_the_word_are_omitted(known: Lexicon) -> None:
    found = find_nearest(known, ALEXA, 100)

    assert not [each for each in found if "alexa" in each.phrase]
    assert not [each for each in found if each.phrase in {"a lex a", "alexas"}]


def test_only_one_of_equal_pronunciations_is_listed(known: Lexicon) -> None:
    found = [each.phrase for each in find_nearest(known, ALEXA, 100)]

    assert "lex a" in found
    assert "lecks a" not in found
    assert len(found) == len(set(found))


def test_word_pair_has_the_distance_of_its_best_split(known: Lexicon) -> None:
    whole = sum(map(deletion_cost, ALEXA))

    found = {each.phrase: each.distance for each in find_nearest(known, ALEXA, 1000)}

    for one, other in itertools.product(("a", "lex", "rex", "banana"), repeat=2):
        joined = build_lexicon([("joined", WORDS[one] + WORDS[other])])
        expected = float(measure_distances(joined, ALEXA)[0, -1]) / whole
        if f"{one} {other}" in found:
            assert found[f"{one} {other}"] >= expected - 1e-3
    assert found["a lex"] == pytest.approx(deletion_cost("AH0") / whole, abs=1e-3)
    assert found["a rex"] < found["a banana"]


def test_number_of_neighbours_is_limited(known: Lexicon) -> None:
    assert len(find_nearest(known, ALEXA, 3)) == 3
