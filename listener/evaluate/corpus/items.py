"""What is played: items of sound, what was said in them and by whom.

Readers of folders, manifests and published layouts are in ``layouts.py`` and ``manifests.py``;
here is what they all give.
"""

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Label:
    """A wake word that somebody said."""

    word: str
    """Name of the model that should hear it."""
    start_s: float | None = None
    """Where it begins, from the start of the item; None where nobody noted it."""
    end_s: float | None = None
    """Where it ends; None together with ``start_s``: the word is somewhere in the item."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a longer item: who speaks, and what."""

    start_s: float
    end_s: float
    speaker: str | None = None
    clip: str | None = None
    """What the stretch was called where it came from."""
    transcript: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One stretch of sound that is played from a fresh start."""

    name: str
    """Unique in the corpus, the same on every machine: a relative path, mostly."""
    path: Path
    labels: tuple[Label, ...] = ()
    start_s: float = 0.0
    """Where in the file it begins."""
    length_s: float | None = None
    """How long it is; None to the end of the file."""
    speaker: str | None = None
    condition: str | None = None
    """Group, room, distance: what the manifest says besides the speaker."""
    transcript: str | None = None
    segments: tuple[Segment, ...] = ()
    """In the order of time."""
    origin: str = ""
    """Which line of which manifest it comes from."""


@dataclass(frozen=True, slots=True)
class InvalidItem:
    """Something that was to be an item and cannot be one; everything else goes on."""

    name: str
    """The item, or the line of the manifest."""
    why: str


class Corpus(Protocol):
    """A collection of items that can be walked through more than once."""

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Give the items in an order that is always the same.

        Raises:
            EarmarkError: the collection itself cannot be read, or its manifest is malformed.
        """


class CombinedCorpus:
    """Several corpora, one after the other, as one."""

    def __init__(self, corpora: Iterable[Corpus], only: Sequence[str] = ()) -> None:
        """Prepare.

        Args:
            corpora: in order.
            only: patterns as of the shell, one of which an item's name must match; none: all.
        """
        self._corpora = tuple(corpora)
        self._only = tuple(only)

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Give the items of each; a name that came before gets a number."""
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
