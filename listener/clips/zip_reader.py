"""A reader of exports' ZIP files: stored entries one after another, and nothing else.

ZIP readers disagree about files that have bytes before, between or after their entries, names that
occur twice, or a directory that contradicts the entries: one shows what another does not (PKWARE
APPNOTE 6.3 leaves it open). An export has one reading: its entries begin at the first byte, follow
each other without a gap, agree with the directory in every field, and the directory's end is the
last byte. ZIP64 fields are accepted only where ``archive/zip_stream.py`` writes them.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

_PIECE_BYTES: Final = 1 << 16
_LOCAL: Final = struct.Struct("<IHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<IHHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<IHHHHIIH")
_END64: Final = struct.Struct("<IQHHIIQQQQ")
_LOCATOR64: Final = struct.Struct("<IIQI")
_LOCAL_MAGIC: Final = 0x04034B50
_CENTRAL_MAGIC: Final = 0x02014B50
_END64_REST_BYTES: Final = 44
_UTF8: Final = 1 << 11
_REGULAR_MODES: Final = (0, 0o100000)
"""File types in the directory: none, or a regular file; a symbolic link would be 0o120000."""
_FILE_TYPE: Final = 0o170000
_U16: Final = 0xFFFF
_U32: Final = 0xFFFFFFFF
_LONGEST_NAME_BYTES: Final = 100
MOST_ENTRIES: Final = 1_000_000
"""Entries of one export; each takes memory in the reader."""


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """The place of an entry's content."""

    start: int
    """Position of the first byte of the content."""
    size: int
    """Length in bytes."""
    crc: int
    """CRC-32 of the content."""


class ZipReader:
    """A parsed ZIP. For one thread.

    Args:
        file: open for reading, seekable; the caller closes it.

    Raises:
        ValueError: the file is not a ZIP of this form.
        OSError: it cannot be read.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = file.seek(0, 2)
        self.entries: dict[str, StoredEntry] = {}
        """Entries by name, in their order."""
        file.seek(0)
        headers = self._walk_entries()
        self._check_directory(headers)

    def open(self, name: str) -> Iterator[bytes]:
        """Yield the content of an entry in pieces.

        Raises:
            ValueError: the content does not have its CRC.
            OSError: it cannot be read.
        """
        entry = self.entries[name]
        crc = 0
        for at in range(0, entry.size, _PIECE_BYTES):
            self._file.seek(entry.start + at)
            piece = self._take(min(_PIECE_BYTES, entry.size - at))
            crc = zlib.crc32(piece, crc)
            yield piece
        if crc != entry.crc:
            raise ValueError("an entry differs from its CRC")

    def _walk_entries(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """Read the local headers from the first byte on.

        Returns:
            Position, length of the name, and the fields that the directory repeats, of each.
        """
        headers: list[tuple[int, int, tuple[int, ...]]] = []
        at = 0
        while True:
            self._file.seek(at)
            head = self._file.read(_LOCAL.size)
            if head[:4] != _LOCAL_MAGIC.to_bytes(4, "little"):
                self._file.seek(at)
                return headers
            if len(head) != _LOCAL.size:
                raise ValueError("the file is incomplete")
            _, *fields = _LOCAL.unpack(head)
            _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = fields
            if method != 0 or packed != size:
                raise ValueError("an entry is compressed")
            if flags & ~_UTF8 or extra_bytes or size == _U32:
                raise ValueError("an entry has flags or fields that an export does not have")
            name = self._name(name_bytes)
            if name in self.entries:
                raise ValueError("an entry is duplicated")
            if len(self.entries) == MOST_ENTRIES:
                raise ValueError(f"it has more than {MOST_ENTRIES} entries")
            start = at + _LOCAL.size + name_bytes
            self.entries[name] = StoredEntry(start, size, crc)
            headers.append((at, name_bytes, tuple(fields[:8])))
            at = start + size

    def _check_directory(self, headers: list[tuple[int, int, tuple[int, ...]]]) -> None:
        start = self._file.tell()
        for name, (at, name_bytes, fields) in zip(self.entries, headers, strict=True):
            magic, _, *rest = _CENTRAL.unpack(self._take(_CENTRAL.size))
            repeated, tail = tuple(rest[:8]), rest[8:]
            length, extra_bytes, comment_bytes, disk, internal, external, offset = tail
            if (magic, repeated, length) != (_CENTRAL_MAGIC, fields, name_bytes):
                raise ValueError("the directory contradicts an entry")
            if comment_bytes or disk or internal or external & _U16:
                raise ValueError("the directory has fields that an export does not have")
            if (external >> 16) & _FILE_TYPE not in _REGULAR_MODES:
                raise ValueError("an entry is not a regular file")
            if self._name(length) != name:
                raise ValueError("the directory contradicts the name of an entry")
            extra = struct.pack("<HHQ", 1, 8, at) if at >= _U32 else b""
            if offset != min(at, _U32) or self._take(extra_bytes) != extra:
                raise ValueError("the directory contradicts the place of an entry")
        self._check_end(start, self._file.tell())

    def _check_end(self, start: int, end: int) -> None:
        count, size = len(self.entries), end - start
        end64 = (0x06064B50, _END64_REST_BYTES, 45, 45, 0, 0, count, count, size, start)
        zip64 = _END64.pack(*end64) + _LOCATOR64.pack(0x07064B50, 0, end, 1)
        few = min(count, _U16)
        record = _END.pack(0x06054B50, 0, 0, few, few, min(size, _U32), min(start, _U32), 0)
        rest_bytes = self._end - end
        if rest_bytes not in {len(record), len(zip64) + len(record)}:
            raise ValueError("there are bytes after the directory, or it is incomplete")
        is_large = count > _U16 or size > _U32 or start > _U32
        rest = self._take(rest_bytes)
        if rest != zip64 + record and (is_large or rest != record):
            raise ValueError("the end of the directory contradicts it")

    def _name(self, length: int) -> str:
        if not 0 < length <= _LONGEST_NAME_BYTES:
            raise ValueError("the name of an entry is empty or too long")
        return self._take(length).decode("ascii")

    def _take(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) != length:
            raise ValueError("the file is incomplete")
        return data
