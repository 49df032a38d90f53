import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import UsageError
from listener.train.phrase import LONGEST_CHARACTERS, Phrase, parse_phrase


@pytest.mark.parametrize(
    ("text", "parsed", "name"),
    [
        ("hey lumen", "hey lumen", "hey-lumen"),
        ("  Hey   Lumen ", "hey lumen", "hey-lumen"),
        ("o'clock", "o'clock", "o-clock"),
        ("it\N{RIGHT SINGLE QUOTATION MARK}s me", "it's me", "it-s-me"),
        ("well-being", "well-being", "well-being"),
    ],
)
def test_phrase_is_normalised(text: str, parsed: str, name: str) -> None:
    phrase = parse_phrase(text)

    assert (phrase.text, phrase.spoken, phrase.name) == (parsed, parsed, name)


def test_other_spelling_is_spoken() -> None:
    assert parse_phrase("hey lumen", "hey loo men") == Phrase("hey lumen", "hey loo men")


@pytest.mark.parametrize("text", ["", " ", "hey 5", "ünder", "a;b", "-v", "hey-", "'", "a\0b", '"'])
def test_other_characters_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a phrase of English letters"):
        parse_phrase(text)
    with pytest.raises(UsageError, match="--say"):
        parse_phrase("hey", text)


def test_long_phrase_is_refused() -> None:
    with pytest.raises(UsageError, match="41 characters"):
        parse_phrase("a" * (LONGEST_CHARACTERS + 1))


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        phrase = parse_phrase(text)
    except UsageError:
        return
    assert phrase == parse_phrase(phrase.text)
    assert set(phrase.name) <= set("abcdefghijklmnopqrstuvwxyz-")
