"""One long stream of a corpus: its items one after the other, so that no item starts fresh.

A detector in a home never starts fresh before a word. In a stream the networks keep their state
from item to item, as in the streaming wake-word benchmark of MLPerf Tiny. The order is drawn from
the seed; between two items is a pause, which belongs to no word. Noise and room of a condition are
mixed into the stream as a whole.
"""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples
from listener.errors import EarmarkError
from listener.evaluate.corpus.items import InvalidItem, Item, Label, NotedCorpus, Segment
from listener.evaluate.corpus.playback import (
    PlayableItem,
    cached_file_hash,
    open_item,
)
from listener.storage.atomic import read_version

LONGEST_S: Final = 86_400.0
"""Length of a stream in seconds from which on another one begins."""

_CHECKED_PARTS: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class SpanLabel(Label):
    """A word anywhere in its part of a stream: its time within the part is not labelled."""


@dataclass(frozen=True, slots=True)
class StreamPart:
    """A part of a stream."""

    item: Item
    first_sample: int
    length_samples: int


@dataclass(frozen=True, slots=True)
class StreamItem(Item):
    """A stream; its path is that of its first part."""

    parts: tuple[StreamPart, ...] = ()
    length_samples: int = 0
    """Length with the pauses."""


class RepeatingCorpus(NotedCorpus, Protocol):
    """A corpus that plays once what it lists several times."""

    def repeated(self) -> tuple[str, ...]:
        """Return the names of the listings that are parts of other items, in order."""


@dataclass(frozen=True, slots=True)
class StreamCorpus:
    """The items of another corpus as streams."""

    corpus: RepeatingCorpus
    channel: int
    seed: int
    """Seed of the order."""
    pause_s: float
    """Silence after each part, in seconds."""

    def __iter__(self) -> Iterator[Item | InvalidItem]:
        """Yield the streams, then the items that cannot be played.

        Every part is decoded once before: a file that is damaged in its middle would otherwise end
        the stream.
        """
        parts, invalid = [], []
        for item in self.corpus:
            if isinstance(item, InvalidItem):
                invalid.append(item)
                continue
            length = measure_part(item, self.channel)
            if isinstance(length, str):
                invalid.append(InvalidItem(item.name, length))
            else:
                parts.append((item, length))
        order = np.random.default_rng(self.seed).permutation(len(parts)).tolist()
        waiting: list[tuple[Item, int]] = []
        number, length_s = 1, 0.0
        for index in order:
            waiting.append(parts[index])
            length_s += parts[index][1] / SAMPLE_RATE_HZ + self.pause_s
            if length_s >= LONGEST_S:
                yield join_parts(waiting, f"stream {number}", self.pause_s)
                number, length_s, waiting = number + 1, 0.0, []
        if waiting:
            yield join_parts(waiting, f"stream {number}", self.pause_s)
        yield from invalid

    def notes(self) -> Iterator[str]:
        """Yield the notes of the other corpus."""
        return self.corpus.notes()

    def repeated(self) -> tuple[str, ...]:
        """Return the names of the listings that are parts of other items, in order."""
        return self.corpus.repeated()


def join_parts(parts: list[tuple[Item, int]], name: str, pause_s: float) -> StreamItem:
    """Return the stream of these items and their lengths in samples, at least one.

    Labels with times keep them; a label without times is one of its whole part. Segments name the
    speaker, the transcript and the item of each part.
    """
    pause = round(pause_s * SAMPLE_RATE_HZ)
    at = 0
    joined: list[StreamPart] = []
    labels: list[Label] = []
    segments: list[Segment] = []
    for item, length in parts:
        joined.append(StreamPart(item, at, length))
        labels += [_moved(label, at, length) for label in item.labels]
        segments += _segments(item, at / SAMPLE_RATE_HZ, length / SAMPLE_RATE_HZ)
        at += length + pause
    return StreamItem(
        name=name,
        path=parts[0][0].path,
        labels=tuple(labels),
        segments=tuple(segments),
        parts=tuple(joined),
        length_samples=at,
    )


@dataclass(frozen=True, slots=True)
class PlayableStream(PlayableItem):
    """A stream that can be played; see ``PlayableItem``."""

    def play(self, phase_samples: int = 0) -> Iterator[Samples]:
        """Yield the blocks of the parts and of the pauses, from ``phase_samples`` on.

        Raises:
            Unavailable: a file was damaged after it was checked.
        """
        skip = phase_samples
        for block in self._blocks():
            if skip < len(block):
                yield block[skip:]
            skip = max(0, skip - len(block))

    def _blocks(self) -> Iterator[Samples]:
        assert isinstance(self.item, StreamItem)  # noqa: S101 - made by open_playable
        at = 0
        ends = [part.first_sample for part in self.item.parts[1:]] + [self.length_samples]
        for part, end in zip(self.item.parts, ends, strict=True):
            played = PlayableItem(part.item, part.length_samples, self.channel)
            for block in played.play():
                at += len(block)
                yield block
            # Also makes up for a file that is shorter than its header says.
            yield np.zeros(end - at, np.int16)
            at = end


def open_playable(item: Item, channel: int) -> tuple[PlayableItem, str]:
    """Return an item or a stream ready to be played, and the SHA-256 of its audio.

    Args:
        item: the item or stream.
        channel: index of the channel of its files.

    Raises:
        Unavailable: a file cannot be read, or the item is shorter than a step.
        UsageError: a file has no such channel, or the item or a label ends after the file.
    """
    if not isinstance(item, StreamItem):
        return open_item(item, channel), cached_file_hash(item.path)
    digest = hashlib.sha256()
    for part in item.parts:
        place = (part.item.name, part.item.start_s, part.first_sample, part.length_samples)
        digest.update(
            repr((cached_file_hash(part.item.path), place)).encode(errors="surrogatepass")
        )
    return PlayableStream(item, item.length_samples, channel), digest.hexdigest()


def measure_part(item: Item, channel: int) -> int | str:
    """Return the length of an item in samples, decoded; or the reason why it cannot be played."""
    version = read_version(item.path, follow_links=True)
    length = _decoded_length(item.path, version, item.start_s, item.length_s, channel)
    if isinstance(length, str):
        return length
    try:
        open_item(item, channel)
    except EarmarkError as error:
        return str(error)
    return length


@functools.lru_cache(maxsize=_CHECKED_PARTS)
def _decoded_length(
    path: Path,
    _version: tuple[int, int, int] | None,
    start_s: float,
    length_s: float | None,
    channel: int,
) -> int | str:
    try:
        playable = open_item(Item("", path, start_s=start_s, length_s=length_s), channel)
        return sum(map(len, playable.play()))
    except EarmarkError as error:
        return str(error)


def _moved(label: Label, first_sample: int, length_samples: int) -> Label:
    start_s = first_sample / SAMPLE_RATE_HZ
    if label.start_s is None or label.end_s is None:
        return SpanLabel(label.word, start_s, start_s + length_samples / SAMPLE_RATE_HZ)
    return Label(label.word, start_s + label.start_s, start_s + label.end_s)


def _segments(item: Item, start_s: float, length_s: float) -> Iterator[Segment]:
    if not item.segments:
        yield Segment(start_s, start_s + length_s, item.speaker, item.name, item.transcript)
    for part in item.segments:
        clip = f"{item.name} {part.clip}" if part.clip else item.name
        yield replace(part, start_s=start_s + part.start_s, end_s=start_s + part.end_s, clip=clip)
