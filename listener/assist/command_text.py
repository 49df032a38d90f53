"""Text of a command without the wake word. Pure.

A clip begins before the wake word, and assistants do not take it off: "Alexa, turn on the kitchen
light" is a light in an area named "Alexa, turn on the kitchen" to Home Assistant. The place of the
wake in the clip cannot be used, for the word ends after it.
"""

import difflib
import re
from typing import Final

_WORDS: Final = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_BETWEEN: Final = " \t\r\n,.;:!?-'\"\u2013\u2014\u2019\u2026"
_MOST_BEFORE: Final = 6
"""Words before the wake word: at most 1 s of talk."""
_LIKENESS: Final = 0.7
"""Similarity from which the first words are the wake word, spelled in another way."""


def remove_wake_word(text: str, word: str) -> str:
    """Return the text behind the wake word, or all of it where the wake word is missing.

    Args:
        text: words of the whole clip.
        word: name of the wake word's model, such as ``alexa`` or ``hey-jarvis``.
    """
    wake = _compact(word)
    words = [(match.start(), match.end()) for match in _WORDS.finditer(text)]
    longest = len(re.split(r"[-_]", word)) + 1
    for first in range(min(_MOST_BEFORE + 1, len(words))):
        for last in range(first, min(first + longest, len(words))):
            if _compact(text[words[first][0] : words[last][1]]) == wake:
                return _behind(text, words[last][1])
    best = max(
        range(min(longest, len(words))),
        key=lambda last: _likeness(text[words[0][0] : words[last][1]], wake),
        default=None,
    )
    if best is None or _likeness(text[words[0][0] : words[best][1]], wake) < _LIKENESS:
        return text.strip()
    return _behind(text, words[best][1])


def _behind(text: str, at: int) -> str:
    return text[at:].lstrip(_BETWEEN).rstrip()


def _likeness(text: str, wake: str) -> float:
    return difflib.SequenceMatcher(None, _compact(text), wake).ratio()


def _compact(text: str) -> str:
    return "".join(_WORDS.findall(text.replace("_", " "))).replace("-", "").casefold()
