"""Playback of items: blocks of samples at 16 kHz, from any phase of a step."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from listener.audio.pcm import FRAME_SAMPLES, SAMPLE_RATE_HZ, Samples
from listener.errors import Unavailable, UsageError
from listener.evaluate.corpus.items import Item
from listener.storage.atomic import read_version
from listener.storage.recordings import open_recording

BLOCK_SAMPLES: Final = 8 * SAMPLE_RATE_HZ
"""Samples of one block; the block size does not affect scores."""
ROUNDING_S: Final = 0.1
"""Tolerance of a label's end beyond the end of the audio: manifests are rounded."""

_HASHED_BYTES: Final = 1 << 20
_KEPT_HASHES: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class PlayableItem:
    """An item whose file was opened and checked."""

    item: Item
    length_samples: int
    """Length by the file's header."""
    channel: int

    def play(self, phase_samples: int = 0) -> Iterator[Samples]:
        """Yield the blocks of the item from ``phase_samples`` on.

        Raises:
            Unavailable: the file is damaged.
        """
        left = self.length_samples - phase_samples
        start_s = self.item.start_s + phase_samples / SAMPLE_RATE_HZ
        if left <= 0:
            return
        with open_recording(self.item.path, self.channel, start_s) as recording:
            while left > 0 and (block := recording.read(min(BLOCK_SAMPLES, left))) is not None:
                left -= len(block)
                yield block


def open_item(item: Item, channel: int) -> PlayableItem:
    """Return an item with its length; check that its labels lie within it.

    Args:
        item: the item to play.
        channel: index of the channel of its file.

    Raises:
        Unavailable: its file cannot be read or is damaged, or the item is shorter than a step. A
            segment that ends before the damage is played.
        UsageError: it has no such channel, or the item or a label ends after the file.
    """
    with open_recording(item.path, channel, item.start_s) as recording:
        whole = recording.length_samples
        if item.length_s is None or item.start_s + item.length_s > whole / SAMPLE_RATE_HZ:
            recording.check_whole()
    length = whole - round(item.start_s * SAMPLE_RATE_HZ)
    where = f"{item.origin}: " if item.origin else ""
    if item.length_s is not None:
        requested = round(item.length_s * SAMPLE_RATE_HZ)
        if requested > length + ROUNDING_S * SAMPLE_RATE_HZ:
            raise UsageError(
                f"{where}the segment ends at {item.start_s + item.length_s:.2f} s,"
                f" the audio at {whole / SAMPLE_RATE_HZ:.2f} s"
            )
        length = min(length, requested)
    for label in item.labels:
        if label.end_s is not None and label.end_s > length / SAMPLE_RATE_HZ + ROUNDING_S:
            raise UsageError(
                f"{where}the label {label.word} ends at {label.end_s:.2f} s,"
                f" the audio at {length / SAMPLE_RATE_HZ:.2f} s"
            )
    if length < FRAME_SAMPLES:
        raise Unavailable(f"{where}{length} samples are less than one step")
    return PlayableItem(item, length, channel)


def list_phases(plays: int, step_samples: int = FRAME_SAMPLES) -> tuple[int, ...]:
    """Return the first sample of each of ``plays`` plays, evenly spaced over one step.

    A detector decides once per step, so each phase is another observation of the same audio.
    """
    return tuple(play * step_samples // plays for play in range(plays))


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, read in constant memory.

    Raises:
        Unavailable: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while data := stream.read(_HASHED_BYTES):
                digest.update(data)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (
            error.strerror if isinstance(error, OSError) else "the name contains a NUL character"
        )
        raise Unavailable(f"cannot read {path}: {reason}") from error
    return digest.hexdigest()


def cached_file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, computed once for its segments and for each engine.

    Raises:
        Unavailable: it cannot be read.
    """
    version = read_version(path, follow_links=True)
    return file_hash(path) if version is None else _hash_version(path, version)


@functools.lru_cache(maxsize=_KEPT_HASHES)
def _hash_version(path: Path, _version: tuple[int, int, int]) -> str:
    return file_hash(path)
