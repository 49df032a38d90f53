"""The wake word is taken off the text, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.assist.command_text import remove_wake_word


@pytest.mark.parametrize(
    ("text", "word", "command"),
    [
        ("Alexa, turn on the kitchen light.", "alexa", "turn on the kitchen light."),
        ("alexa turn on the lights", "alexa", "turn on the lights"),
        ("Alexa! Turn on the lights", "alexa", "Turn on the lights"),
        ("a lexa turn on the lights", "alexa", "turn on the lights"),
        ("Alexis, turn on the lights", "alexa", "turn on the lights"),
        ("Hey Jarvis, what time is it?", "hey-jarvis", "what time is it?"),
        ("hey jarvis what time is it", "hey_jarvis", "what time is it"),
        ("Hey, Jarvis. What time is it?", "hey-jarvis", "What time is it?"),
        ("see you later. Alexa, stop the timer", "alexa", "stop the timer"),
        ("turn on the kitchen light", "alexa", "turn on the kitchen light"),
        ("turn the light in the alexa room off", "alexa", "room off"),
        (
            "one two three four five six seven alexa",
            "alexa",
            "one two three four five six seven alexa",
        ),
        ("Alexa", "alexa", ""),
        ("", "alexa", ""),
        (" ... ", "alexa", "..."),
    ],
)
def test_wake_word_is_removed(text: str, word: str, command: str) -> None:
    assert remove_wake_word(text, word) == command


@given(st.text(max_size=80), st.sampled_from(["alexa", "hey-jarvis", "ok-nabu"]))
def test_any_text_is_taken_and_what_remains_is_its_end(text: str, word: str) -> None:
    assert text.strip().endswith(remove_wake_word(text, word))
