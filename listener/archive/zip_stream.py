"""A ZIP writer that streams in constant memory, without compression (PKWARE APPNOTE 6.3, ZIP64).

Python's ``zipfile`` holds a record of every entry in memory until the end: a hundred megabytes for
a hundred thousand clips. This writer holds the central directory in a temporary file.
"""

import struct
import tempfile
import zlib
from collections.abc import Iterator
from typing import IO, Final, Self

_PIECE_BYTES: Final = 1 << 16
_VERSION: Final = 45  # ZIP64
_UTF8: Final = 1 << 11
_MADE_ON_UNIX: Final = 3 << 8
_PLAIN_FILE: Final = 0o100600 << 16
# 1980-01-01: the time of a clip is in its header, and the same clips give the same bytes.
_DATE: Final = (0 << 9) | (1 << 5) | 1
_U32: Final = 0xFFFFFFFF
_U16: Final = 0xFFFF


class ZipWriter:
    """Encoder of entries into the bytes of a ZIP, in order. A context manager; for one thread."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._offset = 0
        self._entries = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._directory.close()

    def add(self, name: str, data: bytes) -> Iterator[bytes]:
        """Yield the bytes of one entry.

        Args:
            name: path in the ZIP, ASCII.
            data: the whole content.
        """
        yield self._begin(name, len(data), zlib.crc32(data))
        yield data

    def add_file(self, name: str, file: IO[bytes]) -> Iterator[bytes]:
        """Yield the bytes of an entry whose content is in a file, which is read twice."""
        crc, size = 0, 0
        file.seek(0)
        while piece := file.read(_PIECE_BYTES):
            crc, size = zlib.crc32(piece, crc), size + len(piece)
        yield self._begin(name, size, crc)
        file.seek(0)
        while piece := file.read(_PIECE_BYTES):
            yield piece

    def finish(self) -> Iterator[bytes]:
        """Yield the central directory, without which readers reject the ZIP."""
        size = self._directory.tell()
        self._directory.seek(0)
        while piece := self._directory.read(_PIECE_BYTES):
            yield piece
        at = self._offset
        yield struct.pack(
            "<IQHHIIQQQQ",
            0x06064B50,
            44,
            _VERSION,
            _VERSION,
            0,
            0,
            self._entries,
            self._entries,
            size,
            at,
        )
        yield struct.pack("<IIQI", 0x07064B50, 0, at + size, 1)
        entries = min(self._entries, _U16)
        yield struct.pack(
            "<IHHHHIIH", 0x06054B50, 0, 0, entries, entries, min(size, _U32), min(at, _U32), 0
        )

    def _begin(self, name: str, size: int, crc: int) -> bytes:
        path = name.encode("ascii")
        # Entries are small; their offsets may exceed 32 bits.
        extra = struct.pack("<HHQ", 1, 8, self._offset) if self._offset >= _U32 else b""
        shared = struct.pack(
            "<HHHHIIIHH", _UTF8, 0, 0, _DATE, crc, size, size, len(path), len(extra)
        )
        self._directory.write(
            struct.pack("<IHH", 0x02014B50, _MADE_ON_UNIX | _VERSION, _VERSION)
            + shared
            + struct.pack("<HHHII", 0, 0, 0, _PLAIN_FILE, min(self._offset, _U32))
            + path
            + extra
        )
        local = struct.pack("<IH", 0x04034B50, _VERSION) + shared[:-2] + b"\0\0" + path
        self._entries += 1
        self._offset += len(local) + size
        return local
