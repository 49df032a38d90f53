"""Numbers with their nouns."""

import pytest

from listener.quantities import quantity


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 clips"),
        (1, "1 clip"),
        (2, "2 clips"),
        ("1", "1 clip"),
        ("1 or more", "1 or more clips"),
    ],
)
def test_number_has_its_noun(number: int | str, text: str) -> None:
    assert quantity(number, "clip") == text


def test_irregular_plural_is_given() -> None:
    assert quantity(1, "clip waits", "clips wait") == "1 clip waits"
    assert quantity(2, "clip waits", "clips wait") == "2 clips wait"
