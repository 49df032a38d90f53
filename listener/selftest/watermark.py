"""Watermark: a signal whose blocks can be found in arbitrary bytes, in ten sample formats.

A block has 16 samples (1 ms): a mark of four samples, the block's number, and noise. The search is
for the first half of a block in each format, at any byte. Four samples alone do not count: a
compiled function of the sound libraries can leave the content of one register, 8 bytes, on the
stack, and the two bytes after it would be read as a number (docs/decisions/0047).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples

BLOCK_SAMPLES: Final = 16
BLOCK_S: Final = BLOCK_SAMPLES / SAMPLE_RATE_HZ
MOST_BLOCKS: Final = 1 << 15

ENCODED: Final = "encoded"
"""Form of the blocks found by `Watermark.expect`."""

_PIECES: Final = 16
_PIECE_BYTES: Final = 32
_HEAD_BYTES: Final = 4
_MARK_SAMPLES: Final = 4
_FOUND_SAMPLES: Final = BLOCK_SAMPLES // 2
"""First samples of a block that must be there for the block to count: 0.5 ms."""
_LOUDEST: Final = 12_000

Numbers = (
    NDArray[np.int16]
    | NDArray[np.int32]
    | NDArray[np.int64]
    | NDArray[np.float32]
    | NDArray[np.float64]
)


def _forms(samples: Samples) -> dict[str, Numbers]:
    """Return samples in every format that is searched for."""
    floats = samples.astype(np.float32)
    doubles = samples.astype(np.float64)
    return {
        "int16": samples,
        "int16 big-endian": samples.byteswap(),
        "int32": samples.astype(np.int32),
        "int64": samples.astype(np.int64),
        "int32 high": samples.astype(np.int32) << 16,
        "float32": floats,
        "float32 / 32768": floats / np.float32(32768),
        "float32 / 32767": floats / np.float32(32767),
        "float64": doubles,
        "float64 / 32768": doubles / 32768,
    }


FORMS: Final = tuple(_forms(np.zeros(1, np.int16)))
"""Formats that are searched for. Lists of Python numbers and filtered audio are not found."""


@dataclass(slots=True)
class FoundBlocks:
    """Blocks that were found, by their format. Grows by `merge`."""

    blocks: dict[str, set[int]] = field(default_factory=dict)
    """Block numbers by form; no empty set."""

    def add(self, form: str, number: int) -> None:
        """Add a block."""
        self.blocks.setdefault(form, set()).add(number)

    def merge(self, other: "FoundBlocks") -> None:
        """Add the blocks of another search."""
        for form, numbers in other.blocks.items():
            self.blocks.setdefault(form, set()).update(numbers)

    @property
    def count(self) -> int:
        """Number of distinct blocks in any format; each is 1 ms of audio.

        A piece of encoded audio counts as a block.
        """
        return len(set().union(*self.blocks.values()))

    def __bool__(self) -> bool:
        return bool(self.blocks)


class Watermark:
    """Watermark signal and its search."""

    def __init__(self, seed: int) -> None:
        """Choose the mark.

        Args:
            seed: determines the mark and the noise.
        """
        generator = random.Random(seed)  # noqa: S311 - nothing is kept secret with it
        loud = [*range(-_LOUDEST, -_LOUDEST // 4), *range(_LOUDEST // 4, _LOUDEST)]
        self._mark = np.array(generator.sample(loud, _MARK_SAMPLES), np.int16)
        self._pieces: dict[bytes, list[tuple[bytes, int]]] = {}
        """Pieces of encoded audio and their numbers by their first bytes."""
        self._heads: Final = np.zeros((2, 1 << 16), np.bool_)
        """Whether a piece begins with two bytes, and whether they follow the first two of one."""
        self._noise = np.random.default_rng(seed)
        self._patterns: Final = {form: mark.tobytes() for form, mark in _forms(self._mark).items()}
        self._numbers: Final[dict[str, dict[bytes, int]]] = {form: {} for form in FORMS}
        """Maps the bytes from the number to the half of each block that was made to its number."""

    def signal(self, first_block: int, end_block: int) -> Samples:
        """Return blocks of the signal.

        Args:
            first_block: from 0 on.
            end_block: at most `MOST_BLOCKS`.

        Returns:
            int16, shape (16 * (end_block - first_block),).
        """
        if not 0 <= first_block <= end_block <= MOST_BLOCKS:
            raise ValueError(f"blocks {first_block} to {end_block} are out of range")
        shape = (end_block - first_block, BLOCK_SAMPLES)
        blocks = self._noise.integers(-_LOUDEST, _LOUDEST, shape).astype(np.int16)
        blocks[:, :_MARK_SAMPLES] = self._mark
        blocks[:, _MARK_SAMPLES] = np.arange(first_block, end_block)
        tails = blocks[:, _MARK_SAMPLES:_FOUND_SAMPLES]
        for form, values in _forms(np.ascontiguousarray(tails)).items():
            rows = (row.tobytes() for row in values)
            self._numbers[form].update(zip(rows, range(first_block, end_block), strict=True))
        return blocks.ravel()

    def expect(self, encoded: bytes) -> None:
        """Also search for pieces of these bytes from now on, beside those of earlier calls.

        Args:
            encoded: part of the signal as an encoder wrote it.
        """
        step = max(_PIECE_BYTES, len(encoded) // _PIECES)
        for at in range(step // 2, len(encoded), step):
            piece = encoded[at : at + _PIECE_BYTES]
            # Repetitive pieces, as of silence, could match by chance.
            if len(set(piece)) > _PIECE_BYTES // 2:
                self._add_piece(_trim(piece))

    def _add_piece(self, piece: bytes) -> None:
        head = piece[:_HEAD_BYTES]
        number = MOST_BLOCKS + sum(map(len, self._pieces.values()))
        self._pieces.setdefault(head, []).append((piece, number))
        for half, is_used in zip(np.frombuffer(head, "<u2"), self._heads, strict=True):
            is_used[half] = True

    def find(self, data: bytes) -> FoundBlocks:
        """Return the blocks made by `signal` that are in ``data``, at any byte offset."""
        found = FoundBlocks()
        for number in self._find_pieces(data):
            found.add(ENCODED, number)
        for form, pattern in self._patterns.items():
            numbers = self._numbers[form]
            size = len(pattern) // _MARK_SAMPLES * (_FOUND_SAMPLES - _MARK_SAMPLES)
            at = data.find(pattern)
            while at >= 0:
                end = at + len(pattern)
                block = numbers.get(data[end : end + size])
                if block is not None:
                    found.add(form, block)
                at = data.find(pattern, at + 1)
        return found

    def _find_pieces(self, data: bytes) -> Iterator[int]:
        """Yield the numbers of the encoded pieces in ``data``, at any byte offset.

        All pieces are found in one pass. With provisional parts there are hundreds; a search for
        each took longer than the scene lasts.
        """
        if len(data) < _HEAD_BYTES or not self._pieces:
            return
        first, second = self._heads
        known = np.frombuffer(b"".join(self._pieces), "<u4")
        for offset in range(2):
            halves = np.frombuffer(data, "<u2", (len(data) - offset) // 2, offset)
            places = np.flatnonzero(first[halves[:-1]])
            places = places[second[halves[places + 1]]]
            heads = halves[places].astype(np.uint32) | halves[places + 1].astype(np.uint32) << 16
            places = places[np.isin(heads, known)]
            for at in (2 * places + offset).tolist():
                for piece, number in self._pieces.get(data[at : at + _HEAD_BYTES], ()):
                    if data.startswith(piece, at):
                        yield number


def _trim(piece: bytes) -> bytes:
    """Return a piece from its first four different bytes on, or whole if its first half has none.

    Equal bytes, such as zeros, would be a candidate in millions of places of memory.
    """
    starts = range(len(piece) // 2)
    first = next((at for at in starts if len(set(piece[at : at + _HEAD_BYTES])) == _HEAD_BYTES), 0)
    return piece[first:]
