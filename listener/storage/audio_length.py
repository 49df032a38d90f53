"""Check of an audio file's length: what its header gives, against the bytes of the file.

libsndfile reads the shorter of the two and reports nothing, so that a recording which lost power,
or a copy that broke off, looks whole. Sources: RFC 2361 and EBU Tech 3306 (WAV, RF64), Sony's W64,
Apple's AIFF and CAF, RFC 3533 (Ogg), RFC 9639 (FLAC), and libsndfile for AU and NIST SPHERE.
"""

import os
import struct
from collections.abc import Callable, Mapping
from typing import BinaryIO, Final, Literal

from listener.audio.flac import crc_16

_READ_BYTES: Final = 1 << 16
_PADDING_BYTES: Final = 4096
_SOUND_MAGIC: Final = frozenset(
    {b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"caff", b".snd", b"OggS", b"fLaC"}
)
"""First bytes of audio files: one behind the end of another is not read."""
_TAIL_CHUNKS: Final = frozenset(
    {b"LIST", b"JUNK", b"junk", b"PAD ", b"id3 ", b"ID3 ", b"bext", b"cue ", b"smpl", b"_PMX"}
)
"""Chunks behind the samples that may be incomplete: they contain no sound."""
_W64_SUFFIX: Final = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_GUID_BYTES: Final = 16
_ID3V1_BYTES: Final = 128
_FIRST_PAGE: Final = 2  # flags of an Ogg page
_LAST_PAGE: Final = 4
_PAGE_BYTES: Final = 27


def find_damage(file: BinaryIO, kind: str) -> str | None:
    """Return why the file holds less, or more, than can be read from it; None if it is whole.

    Args:
        file: the whole file, seekable.
        kind: its format, as libsndfile names it. Formats that are not known here are whole.

    Raises:
        OSError: it cannot be read.
    """
    check = _CHECKS.get(kind)
    size = file.seek(0, os.SEEK_END)
    try:
        return None if check is None else check(file, size)
    except (struct.error, ValueError, IndexError):  # a header that ends early
        return "its header is incomplete"


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    return file.read(length)


def _compare(start: int, declared: int, size: int) -> str | None:
    """Return why ``declared`` bytes of samples from ``start`` on are not in the file."""
    available = size - start
    if declared > available:
        return f"it ends after {available} of {declared} bytes of samples"
    return None


def _left_over(declared: int, left: int) -> str:
    return f"its header gives {declared} bytes of samples, and {left} more follow them"


def _is_streamed(length: int) -> bool:
    """Return whether a 32-bit length is one that programs write before they know it."""
    return 0x7FFF_F000 <= length <= 0x8000_0FFF or length >= 0xFFFF_F000  # noqa: PLR2004 - the ranges


def _check_riff(file: BinaryIO, size: int) -> str | None:
    """Check a WAV or RF64 file."""
    order: Literal["big", "little"] = "big" if _read(file, 0, 4) == b"RIFX" else "little"
    long_length: int | None = None
    at = 12
    while at + 8 <= size:
        # No more: samples would follow, and Python keeps freed objects of this size as they are.
        head = _read(file, at, 8)
        name, length = head[:4], int.from_bytes(head[4:], order)
        if name == b"ds64":
            long_length = int.from_bytes(_read(file, at + 16, 8), "little")
        if name == b"data":
            if length == 0xFFFF_FFFF and long_length is not None:  # noqa: PLR2004 - see ds64
                length = long_length
            elif _is_streamed(length):
                return None
            return _compare(at + 8, length, size) or _check_tail(
                file,
                at + 8,
                length,
                size,
                lambda head: int.from_bytes(head[4:8], order),
            )
        at += 8 + length + length % 2
    return "it has no samples"


def _check_tail(
    file: BinaryIO, start: int, length: int, size: int, chunk_length: Callable[[bytes], int]
) -> str | None:
    """Check that only chunks and padding follow the ``length`` bytes of samples at ``start``."""
    at = start + length
    if length % 2 and _read(file, at, 1) == b"\0":
        at += 1
    while at + 8 <= size:
        head = _read(file, at, 12)
        name = head[:4]
        end = at + 8 + chunk_length(head)
        is_chunk = name.isascii() and name.decode("ascii", "replace").isprintable()
        if not is_chunk or name in _SOUND_MAGIC or (end > size and name not in _TAIL_CHUNKS):
            if _is_padding(file, at, size) or _is_id3v1(file, at, size):
                return None
            return _left_over(length, size - at)
        at = end + end % 2
    return None


def _is_id3v1(file: BinaryIO, at: int, size: int) -> bool:
    return size - at == _ID3V1_BYTES and _read(file, at, 3) == b"TAG"


def _is_padding(file: BinaryIO, at: int, size: int) -> bool:
    """Return whether only zeros follow, at most one block of a disk: padding."""
    return size - at <= _PADDING_BYTES and not any(_read(file, at, size - at))


def _check_w64(file: BinaryIO, size: int) -> str | None:
    """Check a Sony W64 file: chunks with a GUID, a 64-bit length of all of it, 8-byte aligned."""
    at = 40
    while at + 24 <= size:
        head = _read(file, at, 24)
        length = int.from_bytes(head[_GUID_BYTES:], "little") - 24
        if head[:4] == b"data":
            length = max(0, length)
            short = _compare(at + 24, length, size)
            after = at + 24 + length + -length % 8
            tail = _read(file, after, _GUID_BYTES)
            if short or len(tail) < _GUID_BYTES or tail[4:] == _W64_SUFFIX:
                return short
            return None if _is_padding(file, after, size) else _left_over(length, size - after)
        if length < 0:
            break
        at += 24 + length + -length % 8
    return "it has no samples"


def _check_aiff(file: BinaryIO, size: int) -> str | None:
    """Check an AIFF or AIFF-C file."""
    at = 12
    while at + 8 <= size:
        head = _read(file, at, 12)
        length = int.from_bytes(head[4:8], "big")
        if head[:4] == b"SSND":
            if _is_streamed(length):
                return None
            start, length = at + 16, max(0, length - 8)
            return _compare(start, length, size) or _check_tail(
                file, start, length, size, lambda head: int.from_bytes(head[4:8], "big")
            )
        at += 8 + length + length % 2
    return "it has no samples"


def _check_caf(file: BinaryIO, size: int) -> str | None:
    """Check a CAF file; the last chunk's length of -1 means up to the end."""
    at = 8
    while at + 12 <= size:
        head = _read(file, at, 12)
        length = int.from_bytes(head[4:12], "big", signed=True)
        if head[:4] == b"data":
            if length < 0:
                return None
            start, length = at + 16, max(0, length - 4)
            short = _compare(start, length, size)
            after = start + length
            while short is None and after + 12 <= size:
                head = _read(file, after, 12)
                end = after + 12 + int.from_bytes(head[4:12], "big")
                if end > size or head[:4] in _SOUND_MAGIC:
                    silent = _is_padding(file, after, size)
                    return None if silent else _left_over(length, size - after)
                after = end
            return short
        if length < 0:
            break
        at += 12 + length
    return "it has no samples"


def _check_au(file: BinaryIO, size: int) -> str | None:
    """Check a Sun AU file, which ends with its samples."""
    head = _read(file, 0, 12)
    order: Literal["big", "little"] = "big" if head[:4] == b".snd" else "little"
    start, length = (int.from_bytes(head[each : each + 4], order) for each in (4, 8))
    if _is_streamed(length):
        return None
    after = start + length
    if after >= size or _is_padding(file, after, size):
        return _compare(start, length, size)
    return _left_over(length, size - after)


def _check_nist(file: BinaryIO, size: int) -> str | None:
    """Check a NIST SPHERE file of samples that are not compressed."""
    text = _read(file, 0, 1024).decode("ascii", "replace")
    lines = [line.split() for line in text.splitlines()]
    fields = {line[0]: line[2] for line in lines if len(line) > 2}  # noqa: PLR2004 - name, type, value
    start = int(lines[1][0])
    if "," in fields.get("sample_coding", ""):
        return None
    length = int(fields["sample_count"]) * int(fields["sample_n_bytes"])
    length *= int(fields.get("channel_count", "1"))
    after = start + length
    if after >= size or _is_padding(file, after, size):
        return _compare(start, length, size)
    return _left_over(length, size - after)


def _check_ogg(file: BinaryIO, size: int) -> str | None:
    """Check the pages of an Ogg file: none missing, the last marked as such, and one stream."""
    numbers: dict[int, int] = {}
    ended: set[int] = set()
    is_begun = False
    at = 0
    while at < size:
        head = _read(file, at, _PAGE_BYTES)
        if head[:4] != b"OggS":
            if ended == set(numbers) and (_is_padding(file, at, size) or _is_id3v1(file, at, size)):
                break
            return f"{'bytes' if at else 'its first bytes'} from byte {at} on are not Ogg pages"
        table = _read(file, at + _PAGE_BYTES, head[26] if len(head) == _PAGE_BYTES else 0)
        end = at + _PAGE_BYTES + len(table) + sum(table)
        if len(head) < _PAGE_BYTES or len(table) < head[26] or end > size:
            return f"its last page, at byte {at}, is incomplete"
        flags, serial, number = head[5], *struct.unpack_from("<II", head, 14)
        if flags & _FIRST_PAGE:
            if is_begun:
                return f"a second stream begins at byte {at}, and is not read"
        else:
            is_begun = True
            if serial in numbers and number != (numbers[serial] + 1) % (1 << 32):
                return f"pages are missing before byte {at}"
        numbers[serial] = number
        if flags & _LAST_PAGE:
            ended.add(serial)
        at = end
    return None if ended == set(numbers) else "it breaks off: no page is marked as the last one"


def _check_flac(file: BinaryIO, size: int) -> str | None:
    """Check that a FLAC file's samples end with the number that STREAMINFO gives.

    The decoder reports a file that ends before; this finds one that goes on, or is followed by
    another.
    """
    head = _read(file, 0, 42)
    if head[:4] != b"fLaC" or head[4] & 0x7F:
        return None  # behind a tag
    samples = int.from_bytes(head[18:26], "big") & (1 << 36) - 1
    block_samples = int.from_bytes(head[10:12], "big")
    at, before = 4, b""
    while data := _read(file, at, _READ_BYTES):
        found = (before + data).find(b"fLaC\0\0\0\x22")
        if found >= 0:
            return f"another FLAC file begins at byte {at - len(before) + found}, and is not read"
        before = data[-7:]
        at += len(data)
    tail = _read(file, max(42, size - _READ_BYTES), _READ_BYTES)
    first = _last_frame_sample(tail, block_samples)
    if samples and first is not None and first >= samples:
        return f"its header gives {samples} samples, and more follow them"
    return None


def _last_frame_sample(tail: bytes, block_samples: int) -> int | None:
    """Return the number of the first sample of the frame that ends with ``tail``, if one does."""
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        if tail[at + 1 : at + 2] in {b"\xf8", b"\xf9"} and crc_16(tail[at:]) == 0:
            number = _utf8_number(tail[at + 4 : at + 11])
            if number is not None:
                return number * (block_samples if tail[at + 1] == 0xF8 else 1)  # noqa: PLR2004 - fixed block size
    return None


def _utf8_number(data: bytes) -> int | None:
    """Return the number that a frame header encodes as UTF-8 does, in up to 7 bytes."""
    if not data:
        return None
    length = 8 - (~data[0] & 0xFF).bit_length()
    if length == 0:
        return data[0]
    if length == 1 or len(data) < length:
        return None
    number = data[0] & (0x7F >> length)
    for each in data[1:length]:
        if each >> 6 != 2:  # noqa: PLR2004 - a continuation byte begins with the bits 10
            return None
        number = number << 6 | each & 0x3F
    return number


_CHECKS: Final[Mapping[str, Callable[[BinaryIO, int], str | None]]] = {
    "WAV": _check_riff,
    "WAVEX": _check_riff,
    "RF64": _check_riff,
    "W64": _check_w64,
    "AIFF": _check_aiff,
    "CAF": _check_caf,
    "AU": _check_au,
    "NIST": _check_nist,
    "OGG": _check_ogg,
    "FLAC": _check_flac,
}
