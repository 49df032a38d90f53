"""Search for words and pairs of words that sound like a wake word. Pure."""

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
"""Candidates for each half of a pair; a pair with a more distant half is not searched."""


@dataclass(frozen=True, slots=True, order=True)
class Neighbour:
    """A phrase and its phone distance from the wake word."""

    distance: float
    """Distance divided by the cost of deleting every phone of the wake word; 0 is identical."""
    phrase: str
    phones: Phones


def find_nearest(
    lexicon: Lexicon, target: Phones, most: int, *, pairs: bool = True
) -> list[Neighbour]:
    """Return the phrases that sound most like ``target``, nearest first.

    Phrases that contain the wake word are omitted, and all but one of phrases with equal phones.

    Args:
        lexicon: the words to search.
        target: the wake word's phones.
        most: maximum number of phrases.
        pairs: also search pairs of words, over every division of the wake word into two parts.
    """
    whole = sum(map(deletion_cost, target))
    prefixes = measure_distances(lexicon, target)
    single = prefixes[:, -1]
    candidates: list[tuple[float, tuple[int, ...]]]
    candidates = [(float(single[row]), (row,)) for row in _lowest(single, 4 * most)]
    if pairs:
        suffixes = measure_distances(reverse_lexicon(lexicon), target[::-1])
        candidates += _pairs(prefixes, suffixes, len(target))
    neighbours: dict[Phones, Neighbour] = {}
    phrases: set[str] = set()
    farthest = 0.0
    for cost, rows in sorted(candidates, key=lambda candidate: (candidate[0], len(candidate[1]))):
        distance = round(cost / whole, 4)
        if len(neighbours) >= most and distance > farthest:
            break
        phones = tuple(phone for row in rows for phone in lexicon.phones(row))
        phrase = " ".join(lexicon.words[row] for row in rows)
        if phones not in neighbours and phrase not in phrases and not _contains(phones, target):
            phrases.add(phrase)
            neighbours[phones] = Neighbour(distance, phrase, phones)
            farthest = distance
    return sorted(neighbours.values())[:most]


def _pairs(
    prefixes: Costs, suffixes: Costs, length: int
) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Yield the cost and the rows of pairs of words, over every division of the wake word.

    The edit distance of a pair is the least sum of both halves' distances over all divisions, so
    the best pairs of each division include the best pairs.
    """
    for cut in range(1, length):
        first, second = prefixes[:, cut], suffixes[:, length - cut]
        seconds = _lowest(second, PARTS)
        for row in _lowest(first, PARTS):
            for other in seconds:
                yield float(first[row] + second[other]), (row, other)


def _lowest(costs: Costs, most: int) -> list[int]:
    """Return the indices of the lowest costs, in ascending order; of equal costs the first."""
    places = np.arange(len(costs))
    if len(costs) > most:
        places = np.flatnonzero(costs <= np.partition(costs, most - 1)[most - 1])
    ranked: list[int] = places[np.argsort(costs[places], kind="stable")][:most].tolist()
    return ranked


def _contains(phones: Phones, target: Phones) -> bool:
    """Return whether ``phones`` contain the wake word, ignoring stress."""
    spoken, wanted = (tuple(phone.rstrip("012") for phone in each) for each in (phones, target))
    return any(spoken[at : at + len(wanted)] == wanted for at in range(len(spoken)))
