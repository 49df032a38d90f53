"""A memory card as cards are: what was not flushed may be gone, or half there, after a power cut.

Killing an emulator alone would lose nothing that the guest wrote: the host has it. So the guest's
disk is served from here, by the NBD protocol. Writes go to a cache that the guest sees; a flush
makes all of them last, a write with FUA only itself. A cut keeps a random part of the rest, in
sectors: earlier writes may be gone while later ones are there.
"""

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

SECTOR_BYTES: Final = 512

_NBD_MAGIC: Final = 0x4E42444D41474943
_OPTION_MAGIC: Final = 0x49484156454F5054
_ANSWER_MAGIC: Final = 0x3E889045565A9
_REQUEST_MAGIC: Final = 0x25609513
_REPLY_MAGIC: Final = 0x67446698
_GREETING: Final = struct.Struct(">QQH")
_OPTION: Final = struct.Struct(">QII")
_ANSWER: Final = struct.Struct(">QIII")
_REQUEST: Final = struct.Struct(">IHHQQI")
_REPLY: Final = struct.Struct(">IIQ")

_FIXED_NEWSTYLE: Final = 1
_NO_ZEROES: Final = 2
_OPT_EXPORT_NAME, _OPT_ABORT, _OPT_INFO, _OPT_GO = 1, 2, 6, 7
_REP_ACK, _REP_INFO, _REP_ERR_UNSUP = 1, 3, (1 << 31) + 1
_HAS_FLAGS, _SEND_FLUSH, _SEND_FUA = 1, 4, 8
_FUA: Final = 1
_EINVAL: Final = 22


@dataclass(frozen=True, slots=True)
class Cut:
    """What a power cut did to the writes that no flush had made to last."""

    unflushed_sectors: int
    kept_sectors: int


@dataclass(slots=True)
class _Armed:
    writes: int
    random: Random
    is_cut: bool


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
        self._caught: tuple[bytes, Cut] | None = None

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

    def arm(self, writes: int, random: Random, *, is_cut: bool) -> None:
        """Glimpse, or cut, at the so manieth write from now on: amid a burst, as often as not."""
        with self._lock:
            self._caught = None
            self._armed = _Armed(writes, random, is_cut)

    def caught(self) -> tuple[bytes, Cut] | None:
        """Return what ``arm`` was for, once it came so far."""
        with self._lock:
            return self._caught

    def _count_down(self) -> None:
        armed = self._armed
        if armed is None:
            return
        armed.writes -= 1
        if armed.writes > 0:
            return
        self._armed = None
        remains = bytearray(self._lasting)
        cut = self._remains(remains, armed.random)
        self._caught = bytes(remains), cut
        if armed.is_cut:
            self._is_powered = False
            self._pending.clear()
            self._lasting[:] = remains
            self._seen[:] = remains

    def _remains(self, contents: bytearray, random: Random) -> Cut:
        share = random.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        sectors = kept = 0
        for offset, data in self._pending:
            for at in range(0, len(data), SECTOR_BYTES):
                sectors += 1
                if random.random() < share:
                    kept += 1
                    sector = data[at : at + SECTOR_BYTES]
                    contents[offset + at : offset + at + len(sector)] = sector
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


class CardServer:
    """Serves a card on a Unix socket to one emulator after the other.

    Args:
        card: what is served.
        path: of the socket; removed at the end.
    """

    def __init__(self, card: Card, path: Path) -> None:
        self._card = card
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, name="card", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # The emulator goes when it is killed, and the card when its power is cut.
            with connection, contextlib.suppress(ConnectionError):
                if self._agree(connection):
                    while self._answer(connection):
                        pass

    def _agree(self, connection: socket.socket) -> bool:
        """Go through NBD's fixed newstyle handshake; say whether the disk is wanted."""
        connection.sendall(_GREETING.pack(_NBD_MAGIC, _OPTION_MAGIC, _FIXED_NEWSTYLE | _NO_ZEROES))
        _take(connection, 4)
        flags = _HAS_FLAGS | _SEND_FLUSH | _SEND_FUA
        while True:
            _, option, length = _OPTION.unpack(_take(connection, _OPTION.size))
            _take(connection, length)
            if option == _OPT_EXPORT_NAME:
                connection.sendall(struct.pack(">QH", self._card.size_bytes, flags))
                return True
            if option in (_OPT_GO, _OPT_INFO):
                about = struct.pack(">HQH", 0, self._card.size_bytes, flags)
                connection.sendall(
                    _ANSWER.pack(_ANSWER_MAGIC, option, _REP_INFO, len(about)) + about
                )
                connection.sendall(_ANSWER.pack(_ANSWER_MAGIC, option, _REP_ACK, 0))
                if option == _OPT_GO:
                    return True
            elif option == _OPT_ABORT:
                connection.sendall(_ANSWER.pack(_ANSWER_MAGIC, option, _REP_ACK, 0))
                return False
            else:
                connection.sendall(_ANSWER.pack(_ANSWER_MAGIC, option, _REP_ERR_UNSUP, 0))

    def _answer(self, connection: socket.socket) -> bool:
        """Do one request; say whether more may come."""
        _, flags, kind, handle, offset, length = _REQUEST.unpack(_take(connection, _REQUEST.size))
        answer, error = b"", 0
        match kind:
            case 0:  # read
                answer = self._card.read(offset, length)
            case 1:  # write
                self._card.write(offset, _take(connection, length), lasts=bool(flags & _FUA))
            case 2:  # good-bye
                return False
            case 3:  # flush
                self._card.flush()
            case _:
                error = _EINVAL
        connection.sendall(_REPLY.pack(_REPLY_MAGIC, error, handle) + answer)
        return True


def _take(connection: socket.socket, length: int) -> bytes:
    taken = bytearray()
    while len(taken) < length:
        if not (more := connection.recv(length - len(taken))):
            raise ConnectionResetError("the emulator is gone")
        taken += more
    return bytes(taken)
