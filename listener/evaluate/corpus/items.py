"""Items of a corpus: audio with labels, speakers and transcripts.

``datasets.py`` and ``manifests.py`` read them from folders, manifests and published layouts.
"""

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Label:
    """A wake word in an item."""

    word: str
    """Name of the model that should detect the word."""
    start_s: float | None = None
    """Begin of the word from the start of the item, in seconds; None if not labelled."""
    end_s: float | None = None
    """End of the word; None together with ``start_s``: the word is anywhere in the item."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a longer item with its speaker and transcript."""

    start_s: float
    end_s: float
    speaker: str | None = None
    clip: str | None = None
    """Name of the segment in its source."""
    transcript: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A stretch of audio that is scored from a fresh start."""

    name: str
    """Unique in the corpus and the same on every machine; usually a relative path."""
    path: Path
    labels: tuple[Label, ...] = ()
    start_s: float = 0.0
    """Begin of the item in the file, in seconds."""
    length_s: float | None = None
    """Length in seconds; None: to the end of the file."""
    speaker: str | None = None
    condition: str | None = None
    """Group, room or distance from the manifest."""
    transcript: str | None = None
    segments: tuple[Segment, ...] = ()
    """Segments in the order of time."""
    origin: str = ""
    """Manifest and line that the item comes from."""


@dataclass(frozen=True, slots=True)
class InvalidItem:
    """An entry that is not a valid item; the evaluation continues without it."""

    name: str
    """Name of the item, or line of the manifest."""
    why: str


class Corpus(Protocol):
    """A collection of items that can be iterated more than once."""

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Yield the items in a fixed order.

        Raises:
            EarmarkError: the collection itself cannot be read, or its manifest is malformed.
        """


@runtime_checkable
class NotedCorpus(Corpus, Protocol):
    """A corpus that leaves out files, or reads some in a way that a reader must know."""

    def notes(self) -> Iterator[str]:
        """Yield a line for each kind of thing that is left out or read differently.

        Raises:
            EarmarkError: the collection itself cannot be read.
        """


class CombinedCorpus:
    """The concatenation of several corpora."""

    def __init__(self, corpora: Iterable[Corpus], only: Sequence[str] = ()) -> None:
        """Concatenate corpora.

        Args:
            corpora: the corpora in order.
            only: shell patterns, one of which an item's name must match; empty: all items.
        """
        self._corpora = tuple(corpora)
        self._only = tuple(only)

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Yield the items of each corpus; a repeated name gets a number."""
        times: dict[str, int] = {}
        for corpus in self._corpora:
            for item in corpus:
                if self._only and not any(fnmatch.fnmatchcase(item.name, p) for p in self._only):
                    continue
                if isinstance(item, Item):
                    times[item.name] = number = times.get(item.name, 0) + 1
                    if number > 1:
                        yield replace(item, name=f"{item.name}#{number}")
                        continue
                yield item

    def notes(self) -> Iterator[str]:
        """Yield the notes of each corpus, each once."""
        seen: set[str] = set()
        for corpus in self._corpora:
            for note in corpus.notes() if isinstance(corpus, NotedCorpus) else ():
                if note not in seen:
                    seen.add(note)
                    yield note
