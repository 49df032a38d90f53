"""Cache of scores on disk, so that a repeated or interrupted run computes nothing twice.

A file's name is the hash of everything that its scores depend on, so an entry never becomes stale.
An incomplete or damaged file is treated as missing.
"""

import contextlib
import os
import tempfile
import zlib
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from listener.evaluate.engines.interface import ScoreTrack

_MAGIC: Final = b"earmark-scores/1\n"


class _Head(msgspec.Struct, frozen=True):
    words: tuple[str, ...]
    steps: int
    step_samples: int
    first_end_sample: int
    length_samples: int
    clipped_samples: int
    checksum: int


class ScoreCache:
    """A folder of score tracks; safe for use by several processes."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which is created when the first track is stored."""
        self._folder = folder

    def load(self, key: str) -> ScoreTrack | None:
        """Return the track stored under ``key``; None if it is missing or damaged."""
        try:
            data = self._path(key).read_bytes()
        except OSError:
            return None
        if not data.startswith(_MAGIC):
            return None
        head_line, _, body = data[len(_MAGIC) :].partition(b"\n")
        try:
            head = msgspec.json.decode(head_line, type=_Head)
            scores = zlib.decompress(body)
        except (msgspec.DecodeError, UnicodeDecodeError, zlib.error):
            return None
        shape = (head.steps, len(head.words))
        if zlib.crc32(scores) != head.checksum or len(scores) != 4 * shape[0] * shape[1]:
            return None
        return ScoreTrack(
            head.words,
            np.frombuffer(scores, "<f4").astype(np.float32, copy=False).reshape(shape),
            head.step_samples,
            head.first_end_sample,
            head.length_samples,
            head.clipped_samples,
        )

    def store(self, key: str, track: ScoreTrack) -> None:
        """Store a track atomically.

        Raises:
            OSError: the file cannot be written.
        """
        scores = np.ascontiguousarray(track.scores, "<f4").tobytes()
        head = _Head(
            words=track.words,
            steps=len(track.scores),
            step_samples=track.step_samples,
            first_end_sample=track.first_end_sample,
            length_samples=track.length_samples,
            clipped_samples=track.clipped_samples,
            checksum=zlib.crc32(scores),
        )
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".unfinished-")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                # Most scores are close to 0 and alike: the fastest level halves the size.
                stream.write(_MAGIC + msgspec.json.encode(head) + b"\n" + zlib.compress(scores, 1))
            Path(unfinished).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(unfinished).unlink()
            raise

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key[2:]}.scores"
