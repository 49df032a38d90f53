"""A signal that can be found again, bit for bit, wherever it went.

It is made of blocks of 16 samples (1 ms): a mark of four, the block's number, and noise. What is
looked for is the mark with a number behind it, in every form in which programs hold sound.
"""

import random
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.pcm import SAMPLE_RATE_HZ, Samples

BLOCK_SAMPLES: Final = 16
BLOCK_S: Final = BLOCK_SAMPLES / SAMPLE_RATE_HZ
MOST_BLOCKS: Final = 1 << 15

ENCODED: Final = "encoded"
"""The form of what `Watermark.expect` expects."""

_PIECES: Final = 16
_PIECE_BYTES: Final = 32
_MARK_SAMPLES: Final = 4
_LOUDEST: Final = 12_000

Numbers = (
    NDArray[np.int16]
    | NDArray[np.int32]
    | NDArray[np.int64]
    | NDArray[np.float32]
    | NDArray[np.float64]
)


def _forms(samples: Samples) -> dict[str, Numbers]:
    """Return samples in every form that is looked for."""
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
"""What is looked for. Python numbers in lists, other orders, filtered sound: beyond this search."""


@dataclass(slots=True)
class FoundBlocks:
    """Which blocks were found, and as what. Grows by `merge`."""

    blocks: dict[str, set[int]] = field(default_factory=dict)
    """Block numbers by form; no empty set."""

    def add(self, form: str, number: int) -> None:
        """Note a block."""
        self.blocks.setdefault(form, set()).add(number)

    def merge(self, other: "FoundBlocks") -> None:
        """Note what another search found."""
        for form, numbers in other.blocks.items():
            self.blocks.setdefault(form, set()).update(numbers)

    @property
    def count(self) -> int:
        """Distinct blocks, whatever their form: milliseconds of sound that could be heard again.

        A piece of encoded sound counts as a block.
        """
        return len(set().union(*self.blocks.values()))

    def __bool__(self) -> bool:
        return bool(self.blocks)


class Watermark:
    """One signal, and how to find it. Nobody who has not the seed can expect it."""

    def __init__(self, seed: int) -> None:
        """Choose the mark.

        Args:
            seed: another one gives another mark.
        """
        chance = random.Random(seed)  # noqa: S311 - nothing is kept secret with it
        loud = [*range(-_LOUDEST, -_LOUDEST // 4), *range(_LOUDEST // 4, _LOUDEST)]
        self._mark = np.array(chance.sample(loud, _MARK_SAMPLES), np.int16)
        self._pieces: list[bytes] = []
        self._noise = np.random.default_rng(seed)
        self._patterns: Final = {form: mark.tobytes() for form, mark in _forms(self._mark).items()}
        numbers = range(MOST_BLOCKS)
        # From the bytes of a number's form to the number: exact, whatever the form.
        self._numbers: Final = {
            form: dict(zip(values.view(f"V{values.itemsize}").tolist(), numbers, strict=True))
            for form, values in _forms(np.arange(MOST_BLOCKS, dtype=np.int16)).items()
        }

    def signal(self, first_block: int, end_block: int) -> Samples:
        """Return blocks of the signal.

        Args:
            first_block: from 0 on.
            end_block: at most `MOST_BLOCKS`.

        Returns:
            int16, shape (16 * (end_block - first_block),).
        """
        if not 0 <= first_block <= end_block <= MOST_BLOCKS:
            raise ValueError("there are no such blocks")
        shape = (end_block - first_block, BLOCK_SAMPLES)
        blocks = self._noise.integers(-_LOUDEST, _LOUDEST, shape).astype(np.int16)
        blocks[:, :_MARK_SAMPLES] = self._mark
        blocks[:, _MARK_SAMPLES] = np.arange(first_block, end_block)
        return blocks.ravel()

    def expect(self, encoded: bytes) -> None:
        """Look for pieces of these bytes from now on, too: the signal as an encoder wrote it."""
        step = max(_PIECE_BYTES, len(encoded) // _PIECES)
        pieces = (encoded[at : at + _PIECE_BYTES] for at in range(step // 2, len(encoded), step))
        # What repeats itself, as silence does, may stand anywhere by chance.
        self._pieces = [piece for piece in pieces if len(set(piece)) > _PIECE_BYTES // 2]

    def find(self, data: bytes) -> FoundBlocks:
        """Return the blocks whose mark and number stand in ``data`` at any byte."""
        found = FoundBlocks()
        for number, piece in enumerate(self._pieces, MOST_BLOCKS):
            if piece in data:
                found.add(ENCODED, number)
        for form, pattern in self._patterns.items():
            numbers = self._numbers[form]
            size = len(pattern) // _MARK_SAMPLES
            at = data.find(pattern)
            while at >= 0:
                end = at + len(pattern)
                block = numbers.get(data[end : end + size])
                if block is not None:
                    found.add(form, block)
                at = data.find(pattern, at + 1)
        return found
