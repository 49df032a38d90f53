"""Phrases: the text of a wake word, and what the voices are given to say. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from listener.errors import UsageError

LONGEST_CHARACTERS: Final = 40
"""Longest phrase; a wake word must fit in the 1.3 s that a head sees."""

_WORDS: Final = re.compile(r"[a-z']*[a-z][a-z']*(?:[ -][a-z']*[a-z][a-z']*)*\Z")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase to be spoken."""

    text: str
    """In lower case, words separated by one space or hyphen."""
    spoken: str
    """What the voices are given; differs from ``text`` where the spelling misleads them."""

    @property
    def name(self) -> str:
        """Name of the model: ``hey-lumen``."""
        return re.sub(r"[ ']+", "-", self.text).strip("-")


def parse_phrase(text: str, say: str | None = None) -> Phrase:
    """Parse a wake word as it is typed.

    Args:
        text: the phrase, English letters, spaces, hyphens and apostrophes.
        say: another spelling that the voices are given, with the same letters allowed.

    Raises:
        UsageError: either has other characters, no letter, or is too long.
    """
    return Phrase(_parse(text, "the phrase"), _parse(text if say is None else say, "--say"))


def _parse(text: str, source: str) -> str:
    words = " ".join(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split())
    if len(words) > LONGEST_CHARACTERS:
        raise UsageError(
            f"{source} has {len(words)} characters, and at most {LONGEST_CHARACTERS} are allowed",
            "use two to four syllables in one to three words",
        )
    if not _WORDS.match(words):
        raise UsageError(
            f"{source} {text[: 2 * LONGEST_CHARACTERS]!r} is not a phrase of English letters",
            'write it like "hey lumen", numbers as words',
        )
    return words
