"""A memory card as cards are: what was not flushed may be gone, or half there, after a power cut.

Killing an emulator alone would lose nothing that the guest wrote: the host has it. So the guest's
disk is served from here (``nbd``). Writes go to a cache that the guest sees; a flush
makes all of them last, a write with FUA only itself. A cut keeps a random part of the rest, in
sectors: earlier writes may be gone while later ones are there.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

SECTOR_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class Cut:
    """What a power cut did to the writes that no flush had made to last."""

    unflushed_sectors: int
    kept_sectors: int


@dataclass(slots=True)
class _Armed:
    writes: int
    random: Random
    at_cut: Callable[[], None]


class Card:
    """The card's contents: what lasts, and what the guest sees. Safe for several threads.

    Args:
        contents: at first; a whole number of sectors.
    """

    def __init__(self, contents: bytes) -> None:
        if len(contents) % SECTOR_BYTES:
            raise ValueError("a card is a whole number of sectors")
        self._lasting: Final = bytearray(contents)
        self._seen: Final = bytearray(contents)
        self._pending: list[tuple[int, bytes]] = []
        self._is_powered = True
        self._lock: Final = threading.Lock()
        self._armed: _Armed | None = None
        self._cut: Cut | None = None

    @property
    def size_bytes(self) -> int:
        """How much it holds."""
        return len(self._seen)

    def read(self, offset: int, length: int) -> bytes:
        """Return what the guest wrote last, whether it lasts or not."""
        with self._lock:
            self._check(offset, length)
            return bytes(self._seen[offset : offset + length])

    def write(self, offset: int, data: bytes, *, lasts: bool = False) -> None:
        """Take a write; with ``lasts`` it is on the card, and whatever was written before waits."""
        with self._lock:
            self._check(offset, len(data))
            self._seen[offset : offset + len(data)] = data
            if lasts:
                self._lasting[offset : offset + len(data)] = data
                # An older write to the same place must not come back over it at the cut.
                self._pending = [
                    part
                    for before in self._pending
                    for part in _outside(before, offset, offset + len(data))
                ]
            else:
                self._pending.append((offset, data))
            self._count_down()

    def flush(self) -> None:
        """Make everything last."""
        with self._lock:
            self._check(0, 0)
            for offset, data in self._pending:
                self._lasting[offset : offset + len(data)] = data
            self._pending.clear()

    def arm(self, writes: int, random: Random, at_cut: Callable[[], None]) -> None:
        """Cut at the so manieth write from now on: amid a burst, as often as not.

        Args:
            writes: 1 is the next.
            random: says what survives.
            at_cut: called before the write is answered; it must not wait for the card.
        """
        with self._lock:
            self._cut = None
            self._armed = _Armed(writes, random, at_cut)

    def cut(self) -> Cut | None:
        """Return what the cut did that ``arm`` was for, once it has come."""
        with self._lock:
            return self._cut

    def _count_down(self) -> None:
        armed = self._armed
        if armed is None:
            return
        armed.writes -= 1
        if armed.writes > 0:
            return
        self._armed = None
        self._is_powered = False
        self._cut = self._forget(armed.random)
        armed.at_cut()

    def _forget(self, random: Random) -> Cut:
        share = random.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        sectors = kept = 0
        for offset, data in self._pending:
            for at in range(0, len(data), SECTOR_BYTES):
                sectors += 1
                if random.random() < share:
                    kept += 1
                    sector = data[at : at + SECTOR_BYTES]
                    self._lasting[offset + at : offset + at + len(sector)] = sector
        self._pending.clear()
        self._seen[:] = self._lasting
        return Cut(sectors, kept)

    def power_up(self) -> None:
        """Let it be used again."""
        with self._lock:
            self._is_powered = True

    def _check(self, offset: int, length: int) -> None:
        if not self._is_powered:
            raise ConnectionAbortedError("the card has no power")
        if offset < 0 or offset + length > len(self._seen):
            raise ValueError("beyond the card")


def _outside(write: tuple[int, bytes], first: int, end: int) -> list[tuple[int, bytes]]:
    """Return what of a write lies outside a range."""
    offset, data = write
    if offset >= end or offset + len(data) <= first:
        return [write]
    parts = []
    if offset < first:
        parts.append((offset, data[: first - offset]))
    if offset + len(data) > end:
        parts.append((end, data[end - offset :]))
    return parts
