"""What is played: items of sound, what was said in them and by whom.

Readers of folders, manifests and published layouts are in ``layouts.py``; here is what they all
give.
"""

from collections.abc import Iterator
from dataclasses import dataclass
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


class Corpus(Protocol):
    """A collection of items that can be walked through more than once."""

    def __iter__(self) -> Iterator[Item]:
        """Give the items in an order that is always the same."""
