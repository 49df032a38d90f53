"""Which words and pairs of words sound like a wake word, nearest first. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from listener.evaluate.confusables.phonetics import (
    Costs,
    Lexicon,
    Phones,
    deletion_cost,
    measure_distances,
    reverse_lexicon,
)

PARTS: Final = 60
"""Words that are tried for each half of a pair; a pair of worse halves is not near."""


@dataclass(frozen=True, slots=True, order=True)
class Neighbour:
    """A phrase, and how far it sounds from the wake word."""

    distance: float
    """0 is the same; 1 is as far as leaving out every phone of the wake word."""
    phrase: str
    phones: Phones


def find_nearest(
    known: Lexicon, target: Phones, most: int, *, pairs: bool = True
) -> list[Neighbour]:
    """Return the phrases that sound most like ``target``, nearest first.

    Phrases in which the wake word itself is said are left out, and of phrases that sound alike all
    but one.

    Args:
        known: words that may be said.
        target: the wake word's phones.
        most: so many at most.
        pairs: whether two words in a row count too; they are found through every place at which
            the wake word can be cut.
    """
    whole = sum(map(deletion_cost, target))
    beginnings = measure_distances(known, target)
    single = beginnings[:, -1]
    candidates: list[tuple[float, tuple[int, ...]]]
    candidates = [(float(single[row]), (row,)) for row in _lowest(single, 4 * most)]
    if pairs:
        endings = measure_distances(reverse_lexicon(known), target[::-1])
        candidates += _pairs(beginnings, endings, len(target))
    found: dict[Phones, Neighbour] = {}
    phrases: set[str] = set()
    for cost, rows in sorted(candidates, key=lambda candidate: (candidate[0], len(candidate[1]))):
        phones = tuple(phone for row in rows for phone in known.phones(row))
        phrase = " ".join(known.words[row] for row in rows)
        if phones not in found and phrase not in phrases and not _holds(phones, target):
            phrases.add(phrase)
            found[phones] = Neighbour(round(cost / whole, 4), phrase, phones)
    return sorted(found.values())[:most]


def _pairs(
    beginnings: Costs, endings: Costs, length: int
) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Yield pairs of words; their cost is that at one cut of the wake word.

    A distance splits where its target does, so the best pairs of every cut are the best pairs.
    """
    for cut in range(1, length):
        first, second = beginnings[:, cut], endings[:, length - cut]
        seconds = _lowest(second, PARTS)
        for row in _lowest(first, PARTS):
            for other in seconds:
                yield float(first[row] + second[other]), (row, other)


def _lowest(costs: Costs, most: int) -> list[int]:
    """Return the places of the lowest costs, in order; of equal ones the first."""
    places = np.arange(len(costs))
    if len(costs) > most:
        places = np.flatnonzero(costs <= np.partition(costs, most - 1)[most - 1])
    ranked: list[int] = places[np.argsort(costs[places], kind="stable")][:most].tolist()
    return ranked


def _holds(phones: Phones, target: Phones) -> bool:
    """Tell whether the wake word is said in it, whatever the stress."""
    said, wanted = (tuple(phone.rstrip("012") for phone in each) for each in (phones, target))
    return any(said[at : at + len(wanted)] == wanted for at in range(len(said)))
