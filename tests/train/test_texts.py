import shutil
from pathlib import Path

import pytest

from listener.errors import Unavailable
from listener.evaluate.confusables.phonetics import (
    build_lexicon,
    entries,
    find_dictionary,
    measure_distances,
)
from listener.train.phrase import Phrase, parse_phrase
from listener.train.texts import (
    LEAST_COST,
    contains_word,
    find_near_phrases,
    find_phones,
    make_sentences,
)

ALEXA = parse_phrase("alexa")


def test_near_phrases_sound_like_the_word_and_are_not_it() -> None:
    near = find_near_phrases(ALEXA, 60)

    assert {"alicia", "lexus", "election"} <= set(near)
    # What people say for the word, by mistake or by accent.
    assert not {"alexi", "alexei", "uh lex", "a rex", "lexa"} & set(near)
    assert len(near) == len(set(near))
    assert not any("alexa" in text for text in near)


def test_pronunciations_of_the_word_are_no_near_phrases() -> None:
    phrase = parse_phrase("hey lumen")
    near = set(find_near_phrases(phrase, 40))
    target = find_phones(phrase)
    words = {word for text in near for word in text.split()}
    known: dict[str, tuple[str, ...]] = {}
    for word, phones in entries(find_dictionary()):
        if word in words:
            known.setdefault(word, phones)
    spoken = [
        (text, tuple(phone for word in text.split() for phone in known[word]))
        for text in sorted(near)
        if all(word in known for word in text.split())
    ]
    lexicon = build_lexicon(spoken)

    distances = measure_distances(lexicon, target)[:, -1]

    assert {"lumen", "hey"} <= near  # parts of it
    assert any(text.startswith("hey ") for text in near)
    assert any(text.endswith(" lumen") for text in near)
    assert len(spoken) > 60
    assert distances.min() >= LEAST_COST - 1e-3


def test_sentences_are_the_same_each_time_and_without_the_word() -> None:
    phrase = parse_phrase("hey river", "hay rivver")

    sentences = make_sentences(phrase, 200)

    assert sentences == make_sentences(phrase, 200)
    assert len(set(sentences)) == 200
    assert not any("river" in sentence.split() for sentence in sentences)
    assert any("the river" in sentence for sentence in make_sentences(ALEXA, 200))
    assert all(sentence.endswith(".") and len(sentence.split()) >= 4 for sentence in sentences)


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("Ask Alexa, please.", True),
        ("alexander", False),
        ("", False),
        ("a lexa", False),
    ],
)
def test_word_in_a_text_is_found(text: str, has: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert contains_word(text, ALEXA) is has


@pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed; make debian brings it"
)
@pytest.mark.system
def test_unknown_word_is_pronounced_by_espeak() -> None:
    assert find_phones(Phrase("zyblorp", "zyblorp"))[0] == "Z"


def test_unknown_word_without_espeak_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Unavailable, match="espeak-ng is not installed"):
        find_phones(Phrase("zyblorp", "zyblorp"))
