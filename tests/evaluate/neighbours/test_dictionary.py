from pathlib import Path

import pytest

from listener.errors import UsageError
from listener.evaluate.neighbours.dictionary import (
    entries,
    find_dictionary,
    parse_phones,
    pronounce,
)

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
def test_words_in_a_row_are_pronounced_one_after_the_other(file: Path, text: str) -> None:
    assert pronounce(file, text) == ("HH", "EY1", "JH", "AA1", "R", "V", "AH0", "S")


def test_a_word_that_it_does_not_know_is_said(file: Path) -> None:
    with pytest.raises(UsageError, match="does not know 'mycroft'") as caught:
        pronounce(file, "hey mycroft")
    assert "--phones" in caught.value.hint


def test_phones_are_read_as_the_dictionary_writes_them() -> None:
    assert parse_phones("ah0 l EH1  k s ah0") == ("AH0", "L", "EH1", "K", "S", "AH0")


@pytest.mark.parametrize("text", ["", "AH", "K1", "XX", "AH3"])
def test_what_is_no_phone_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="phone"):
        parse_phones(text)


def test_the_installed_dictionary_is_found_and_knows_the_usual_words() -> None:
    path = find_dictionary()

    assert pronounce(path, "alexa") == ("AH0", "L", "EH1", "K", "S", "AH0")
    assert sum(1 for _ in entries(path)) > 120_000
