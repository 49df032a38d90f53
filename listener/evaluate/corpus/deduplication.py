"""Deduplication: every stretch of audio is one item, however often a corpus lists it.

Two listings are of the same audio if their stretches agree, and the SHA-256 of their files or of
their samples, whatever their names: a recording as WAV and as FLAC is one recording. Listings of
the same stretch are one item with the labels of all. Listings that overlap are one item over the
union of their stretches; if one of them has a word at an unknown time, the word may lie in the
overlap or outside, so the later listing is reported and not played. An overlap of up to
``ROUNDING_S`` is cut off the later listing: the times of manifests are rounded.

The source is read several times in place of being kept, so memory grows by a few numbers for each
item.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ
from listener.errors import EarmarkError
from listener.evaluate.corpus.items import InvalidItem, Item, Label, NotedCorpus
from listener.evaluate.corpus.labels import (
    match_spellings,
    merge_labels,
    spelling_note,
    unknown_note,
)
from listener.evaluate.corpus.playback import BLOCK_SAMPLES, ROUNDING_S, file_hash
from listener.quantities import quantity
from listener.storage.recordings import open_recording

_ROUNDING_SAMPLES: Final = round(ROUNDING_S * SAMPLE_RATE_HZ)
_HEAD_SAMPLES: Final = 4_096
"""Samples that tell most sounds of one length apart."""
_SHOWN: Final = 3
"""Items that a note names; further ones are only counted."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A listing of a stretch of one file, in samples at 16 kHz."""

    number: int
    """Number of the item in the corpus, from 0."""
    first_sample: int
    end_sample: int
    is_placed: bool = True
    """Whether the time of each of its words is known; True without words."""
    words_first_sample: int | None = None
    """Begin of its first word with a known time; None without one."""
    words_end_sample: int | None = None
    """End of its last word with a known time; None without one."""

    def has_place_of(self, other: "Listing") -> bool:
        """Return whether both are of the same stretch."""
        return (self.first_sample, self.end_sample) == (other.first_sample, other.end_sample)


@dataclass(slots=True)
class Stretch:
    """A stretch of audio to play, and the listings that it covers."""

    first_sample: int
    end_sample: int
    listings: list[Listing] = field(default_factory=list)
    refused: list[Listing] = field(default_factory=list)
    """Listings that overlap this stretch, where a word is at an unknown time."""

    @property
    def is_placed(self) -> bool:
        """Whether the time of each of its words is known."""
        return all(listing.is_placed for listing in self.listings)

    def has_word_after(self, sample: int) -> bool:
        """Return whether a word with a known time ends after ``sample``."""
        return any((listing.words_end_sample or 0) > sample for listing in self.listings)


def join_listings(listings: Iterable[Listing]) -> list[Stretch]:
    """Join the listings of one file to stretches that do not overlap. Pure.

    Returns:
        Stretches in the order of time; together they cover no sample that no listing covers, and
        each listing is in one of them.
    """
    same: dict[tuple[int, int], list[Listing]] = defaultdict(list)
    for listing in listings:
        same[listing.first_sample, listing.end_sample].append(listing)
    stretches: list[Stretch] = []
    for (first, end), group in sorted(same.items()):
        last = stretches[-1] if stretches else None
        overlap = 0 if last is None else last.end_sample - first
        if last is None or overlap <= 0:
            stretches.append(Stretch(first, end, group))
        elif (
            overlap <= _ROUNDING_SAMPLES
            and end - last.end_sample >= FRAME_SAMPLES
            and not last.has_word_after(first)
            and not _has_word_before(group, last.end_sample)
        ):
            stretches.append(Stretch(last.end_sample, end, group))
        elif last.is_placed and all(listing.is_placed for listing in group):
            last.end_sample = max(last.end_sample, end)
            last.listings += group
        else:
            last.refused += group
    return stretches


def _has_word_before(listings: Sequence[Listing], sample: int) -> bool:
    return any(
        listing.words_first_sample is not None and listing.words_first_sample < sample
        for listing in listings
    )


class DeduplicatedCorpus:
    """A corpus in which each stretch of audio occurs once. For one thread."""

    def __init__(self, source: NotedCorpus, words: Iterable[str], channel: int = 0) -> None:
        """Prepare a corpus; it is read when it is first iterated.

        Args:
            source: corpus to read; its items have different names.
            words: labels of the models of the run.
            channel: index of the channel of its files that is played.
        """
        self._source = source
        self._channel = channel
        self._words = frozenset(words)
        self._plan: _Plan | None = None

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Yield the items, with labels in the spelling of the words.

        Raises:
            EarmarkError: the source cannot be read, or its manifest is malformed.
        """
        plan = self._planned()
        for number, entry in enumerate(self._source):
            if number in plan.dropped:
                continue
            planned = plan.replaced.get(number, entry)
            if isinstance(planned, Item) and len(planned.labels) > 1:
                yield replace(planned, labels=merge_labels(planned.labels))
            else:
                yield planned

    def notes(self) -> Iterator[str]:
        """Yield what is left out or counted differently than it is listed.

        Raises:
            EarmarkError: as for the iteration.
        """
        yield from self._source.notes()
        yield from self._planned().notes

    def repeated(self) -> tuple[str, ...]:
        """Return the names of the listings that are parts of other items, in order."""
        return self._planned().repeated

    def _planned(self) -> "_Plan":
        if self._plan is None:
            self._plan = _Planner(self._source, self._words, self._channel).plan()
        return self._plan


@dataclass(frozen=True, slots=True)
class _Plan:
    """What differs from the source."""

    dropped: frozenset[int]
    """Numbers of the entries that are not played."""
    replaced: dict[int, Item | InvalidItem]
    """Entries by number."""
    repeated: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Given:
    """What an item says about its stretch."""

    number: int
    start_s: float
    length_s: float | None
    is_placed: bool
    words_start_s: float | None
    words_end_s: float | None


class _Planner:
    """Finds the listings of the same audio, and builds the items that replace them."""

    def __init__(self, source: NotedCorpus, words: frozenset[str], channel: int) -> None:
        self._source = source
        self._words = words
        self._channel = channel
        self._counts: Counter[str] = Counter()
        self._spellings: dict[str, str] = {}
        self._respelled: set[int] = set()

    def plan(self) -> _Plan:
        by_path, several = self._read()
        joined: list[Stretch] = []
        for group in _by_sound(by_path, self._channel):
            listings = sorted(
                (listing for path in group for listing in _listings(path, by_path[path])),
                key=_number,
            )
            joined += [
                stretch
                for stretch in join_listings(listings)
                if len(stretch.listings) > 1
                or stretch.refused
                or stretch.first_sample != stretch.listings[0].first_sample
            ]
        items = self._collect(joined, several)
        return self._build(joined, items, several)

    def _read(self) -> tuple[dict[Path, list[_Given]], set[int]]:
        """Return what is listed of each file, and the numbers of the items with several labels."""
        by_path: dict[Path, list[_Given]] = defaultdict(list)
        several: set[int] = set()
        labelled: dict[str, list[int]] = defaultdict(list)
        for number, entry in enumerate(self._source):
            if not isinstance(entry, Item):
                continue
            starts = [label.start_s for label in entry.labels if label.start_s is not None]
            ends = [label.end_s for label in entry.labels if label.end_s is not None]
            by_path[entry.path].append(
                _Given(
                    number,
                    entry.start_s,
                    entry.length_s,
                    len(ends) == len(entry.labels),
                    min(starts, default=None),
                    max(ends, default=None),
                )
            )
            if len(entry.labels) > 1:
                several.add(number)
            for label in entry.labels:
                self._counts[label.word] += 1
                if label.word not in self._words:
                    labelled[label.word].append(number)
        self._spellings = match_spellings(self._counts, self._words)
        self._respelled = {number for label in self._spellings for number in labelled[label]}
        return by_path, several

    def _collect(self, joined: Sequence[Stretch], several: set[int]) -> dict[int, Item]:
        """Return the items whose stretch or labels may change, by number."""
        wanted = self._respelled | several
        for stretch in joined:
            wanted.update(listing.number for listing in (*stretch.listings, *stretch.refused))
        if not wanted:
            return {}
        return {
            number: self._respell(entry)
            for number, entry in enumerate(self._source)
            if number in wanted and isinstance(entry, Item)
        }

    def _respell(self, item: Item) -> Item:
        labels = tuple(
            replace(label, word=self._spellings.get(label.word, label.word))
            for label in item.labels
        )
        return item if labels == item.labels else replace(item, labels=labels)

    def _build(self, joined: Sequence[Stretch], items: dict[int, Item], several: set[int]) -> _Plan:
        replaced: dict[int, Item | InvalidItem] = {
            number: items[number] for number in self._respelled
        }
        joint_items: dict[int, Item] = {}
        dropped: set[int] = set()
        tally = _Tally()
        for stretch in joined:
            members = [items[listing.number] for listing in stretch.listings]
            first = stretch.listings[0].number
            joint_items[first] = _joined_item(stretch, members)
            dropped |= {listing.number for listing in stretch.listings[1:]}
            tally.add(stretch, members)
            for listing in stretch.refused:
                refused = items[listing.number]
                replaced[listing.number] = InvalidItem(
                    refused.name,
                    f"{refused.origin}: "
                    * bool(refused.origin)
                    + f"it overlaps {members[0].name}, and a word is in one of the two at an"
                    " unknown time: give word_start_s and word_duration_s, or segments that do not"
                    " overlap",
                )
        played = {number: items[number] for number in several}
        played |= joint_items
        surplus = {
            item.name: count
            for _, item in sorted(played.items())
            if (count := len(item.labels) - len(merge_labels(item.labels)))
        }
        counts: Counter[str] = Counter()
        for label, count in self._counts.items():
            counts[self._spellings.get(label, label)] += count
        for stretch in joined:
            # The labels of all its listings are those of one item.
            for listing in stretch.listings:
                counts.subtract(label.word for label in items[listing.number].labels)
            joint = played[stretch.listings[0].number]
            counts.update(label.word for label in merge_labels(joint.labels))
        notes = [
            *tally.notes(),
            _labels_note(surplus),
            spelling_note(self._counts, self._spellings),
            unknown_note(counts, self._words),
        ]
        return _Plan(
            frozenset(dropped),
            {**replaced, **joint_items},
            tuple(tally.names()),
            tuple(note for note in notes if note is not None),
        )


@dataclass(slots=True)
class _Tally:
    """Counts of the listings of the same audio, for the notes."""

    same: list[str] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)
    joined: int = 0
    trimmed: list[str] = field(default_factory=list)
    disputed: list[str] = field(default_factory=list)

    def add(self, stretch: Stretch, members: Sequence[Item]) -> None:
        first = stretch.listings[0]
        for listing, item in zip(stretch.listings[1:], members[1:], strict=True):
            names = self.same if listing.has_place_of(first) else self.overlapping
            names.append(item.name)
        self.joined += not all(listing.has_place_of(first) for listing in stretch.listings)
        if stretch.first_sample != first.first_sample:
            self.trimmed.append(members[0].name)
        labelled = [bool(item.labels) for item in members]
        if all(listing.is_placed for listing in stretch.listings):
            return
        if any(labelled) and not all(labelled):
            self.disputed.append(members[0].name)

    def names(self) -> Iterator[str]:
        """Yield the names of the listings that are parts of other items."""
        yield from self.same
        yield from self.overlapping

    def notes(self) -> Iterator[str]:
        """Yield a note for each kind of listing."""
        if self.same:
            yield (
                f"{quantity(len(self.same), 'listing')} of audio that is listed before,"
                f" counted once: {_names(self.same)}"
            )
        if self.overlapping:
            yield (
                f"{quantity(len(self.overlapping), 'listing')} overlapping others of the same file,"
                f" played as {quantity(self.joined, 'joined item')}:"
                f" {_names(self.overlapping)}"
            )
        if self.trimmed:
            yield (
                f"{quantity(len(self.trimmed), 'listing')} beginning up to {ROUNDING_S:g} s before"
                f" the end of the one before, played from there: {_names(self.trimmed)}"
            )
        if self.disputed:
            yield (
                f"{quantity(len(self.disputed), 'item')} listed with a word and without, counted"
                f" with it: {_names(self.disputed)}"
            )


def _labels_note(surplus: dict[str, int]) -> str | None:
    if not surplus:
        return None
    return (
        f"{quantity(sum(surplus.values()), 'label')} repeating or overlapping another of the same"
        f" word, counted as one word with it: {_names(list(surplus))}"
    )


def _names(names: Sequence[str]) -> str:
    more = f", and {quantity(len(names) - _SHOWN, 'other')}" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _number(listing: Listing) -> int:
    return listing.number


def _by_sound(by_path: dict[Path, list[_Given]], channel: int) -> Iterator[list[Path]]:
    """Yield the paths of each sound that is listed more than once."""
    by_length: dict[int, list[list[Path]]] = defaultdict(list)
    for content in _by_content(by_path):
        with suppress(EarmarkError), open_recording(content[0], channel) as recording:
            by_length[recording.length_samples].append(content)
    for contents in by_length.values():
        for group in _by_samples(contents, channel):
            if sum(len(by_path[path]) for path in group) > 1:
                yield group


def _by_samples(contents: Sequence[list[Path]], channel: int) -> Iterator[list[Path]]:
    """Yield the paths of each sound among contents of one length."""
    if len(contents) == 1:
        yield contents[0]
        return
    by_head: dict[bytes, list[list[Path]]] = defaultdict(list)
    for content in contents:
        by_head[_sound_hash(content[0], channel, _HEAD_SAMPLES)].append(content)
    for candidates in by_head.values():
        by_hash: dict[bytes, list[Path]] = defaultdict(list)
        for content in candidates:
            whole = _sound_hash(content[0], channel) if len(candidates) > 1 else b""
            by_hash[whole] += content
        yield from by_hash.values()


def _sound_hash(path: Path, channel: int, most_samples: int | None = None) -> bytes:
    """Return the SHA-256 of the samples of a file; of its path if they cannot be read."""
    digest = hashlib.sha256()
    left = most_samples
    try:
        with open_recording(path, channel) as recording:
            while (left is None or left > 0) and (
                block := recording.read(BLOCK_SAMPLES if left is None else left)
            ) is not None:
                digest.update(block.tobytes())
                left = None if left is None else left - len(block)
    except EarmarkError:  # reported when it is played
        return os.fsencode(path)
    return digest.digest()


def _by_content(by_path: dict[Path, list[_Given]]) -> Iterator[list[Path]]:
    """Yield the paths of each content of a file."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in by_path:
        try:
            by_size[path.stat().st_size].append(path)
        except (OSError, ValueError):  # reported when it is opened
            continue
    for paths in by_size.values():
        if len(paths) == 1:
            yield paths
            continue
        by_hash: dict[str, list[Path]] = defaultdict(list)
        for path in paths:
            with suppress(EarmarkError):  # reported when it is opened
                by_hash[file_hash(path)].append(path)
        yield from by_hash.values()


def _listings(path: Path, given: Sequence[_Given]) -> Iterator[Listing]:
    """Yield the listings of a file that can be played; the others are reported at the playback."""
    try:
        with open_recording(path) as recording:
            whole = recording.length_samples
    except EarmarkError:
        return
    for each in given:
        first = round(each.start_s * SAMPLE_RATE_HZ)
        length = whole - first
        if each.length_s is not None:
            requested = round(each.length_s * SAMPLE_RATE_HZ)
            if requested > length + _ROUNDING_SAMPLES:
                continue
            length = min(length, requested)
        reached_s = length / SAMPLE_RATE_HZ + ROUNDING_S
        if length >= FRAME_SAMPLES and (each.words_end_s or 0.0) <= reached_s:
            yield Listing(
                each.number,
                first,
                first + length,
                each.is_placed,
                _sample(first, each.words_start_s),
                _sample(first, each.words_end_s),
            )


def _sample(first: int, seconds: float | None) -> int | None:
    return None if seconds is None else first + round(seconds * SAMPLE_RATE_HZ)


def _joined_item(stretch: Stretch, members: Sequence[Item]) -> Item:
    """Return the item of a stretch: that of its first listing, with the labels of all."""
    first = stretch.listings[0]
    labels: dict[Label, None] = {}
    for listing, item in zip(stretch.listings, members, strict=True):
        shift_s = (listing.first_sample - stretch.first_sample) / SAMPLE_RATE_HZ
        labels |= dict.fromkeys(_shifted(label, shift_s) for label in item.labels)
    made = replace(members[0], labels=tuple(labels))
    if stretch.first_sample != first.first_sample or stretch.end_sample != first.end_sample:
        made = replace(
            made,
            start_s=stretch.first_sample / SAMPLE_RATE_HZ,
            length_s=(stretch.end_sample - stretch.first_sample) / SAMPLE_RATE_HZ,
        )
    if stretch.end_sample == first.end_sample:
        # The first listing covers the others.
        covered = [
            item
            for listing, item in zip(stretch.listings, members, strict=True)
            if listing.has_place_of(first)
        ]
        return replace(
            made,
            speaker=_first(item.speaker for item in covered),
            condition=_first(item.condition for item in covered),
            transcript=_first(item.transcript for item in covered),
            segments=next((item.segments for item in covered if item.segments), ()),
        )
    # The words of the transcripts would count twice where the stretches overlap.
    return replace(
        made,
        speaker=_common(item.speaker for item in members),
        condition=_common(item.condition for item in members),
        transcript=None,
        segments=(),
    )


def _shifted(label: Label, shift_s: float) -> Label:
    if label.start_s is None or label.end_s is None or not shift_s:
        return label
    return replace(
        label, start_s=max(label.start_s + shift_s, 0.0), end_s=max(label.end_s + shift_s, 0.0)
    )


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value), None)


def _common(values: Iterable[str | None]) -> str | None:
    different = set(values)
    return different.pop() if len(different) == 1 else None
