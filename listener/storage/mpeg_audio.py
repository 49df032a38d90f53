"""Scanner of MPEG audio files (MP3): their frames, between tags and a header that may be missing.

libsndfile reads as many samples as the first frame's header (Xing, Info or VBRI) gives, and without
one it estimates the length from the file's size and the first bit rate: it then stops early in
files of variable bit rate, and reports files with pictures as cut. This module counts the frames,
and where libsndfile would be wrong it supplies the same frames behind a header with their number.

Sources: ISO/IEC 11172-3 and 13818-3 (frame header), the LAME project's description of the Xing and
Info header, id3.org (ID3v1, ID3v2.4), the APEv2 specification, and Lyrics3 v2.
"""

import os
import re
from dataclasses import dataclass, field
from typing import BinaryIO, Final

HEADER_BYTES: Final = 4
_SYNC: Final = 0xFFE0  # first 11 bits of a frame header
_KILOBITS: Final = {
    # (MPEG 1, layer): kbit/s by code 1 to 14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ: Final = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
_MPEG_1: Final = 3  # code of the version
_MONO: Final = 3  # code of the mode
_LONGEST_FRAME_BYTES: Final = 1729  # layer 2, 384 kbit/s at 32 kHz, with padding
_SEARCHED_BYTES: Final = 1 << 13
_ID3V1_BYTES: Final = 128
_ID3V2_HEADER_BYTES: Final = 10
_APE_HEADER_BYTES: Final = 32
_LYRICS_END_BYTES: Final = 15
_XING_FLAG_FRAMES: Final = 1
_VBRI_OFFSET: Final = 36
_STARTS: Final = re.compile(rb"\xff[\xe0-\xff]|ID3|TAG|APETAGEX|LYRICSBEGIN")


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Header of an MPEG audio frame."""

    version: int
    """Code of the version: 3 for MPEG 1, 2 for MPEG 2, 0 for MPEG 2.5."""
    layer: int
    """1 to 3."""
    rate_hz: int
    is_mono: bool
    length_bytes: int
    """Length of the frame with its header."""
    samples: int
    """Samples of each channel."""

    def is_like(self, other: "FrameHeader") -> bool:
        """Return whether both can belong to one stream."""
        return (self.version, self.layer, self.rate_hz, self.is_mono) == (
            other.version,
            other.layer,
            other.rate_hz,
            other.is_mono,
        )

    @property
    def side_bytes(self) -> int:
        """Length of layer 3's side information, which precedes a Xing header."""
        if self.version == _MPEG_1:
            return 17 if self.is_mono else 32
        return 9 if self.is_mono else 17


def parse_header(data: bytes) -> FrameHeader | None:
    """Return the frame header at the beginning of ``data``, or None.

    Free-format frames, whose length is not in the header, are not recognised.
    """
    if len(data) < HEADER_BYTES or int.from_bytes(data[:2], "big") < _SYNC:
        return None
    version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    bits, rate, padding = data[2] >> 4, data[2] >> 2 & 3, data[2] >> 1 & 1
    if version == 1 or layer == 4 or bits in {0, 15} or rate == 3:  # noqa: PLR2004 - reserved codes
        return None
    is_first = version == _MPEG_1
    rate_hz = _RATES_HZ[version][rate]
    bits_per_s = 1000 * _KILOBITS[is_first, layer][bits - 1]
    if layer == 1:
        samples, length = 384, (12 * bits_per_s // rate_hz + padding) * 4
    else:
        samples = 1152 if is_first or layer == 2 else 576  # noqa: PLR2004 - layer 2
        length = samples // 8 * bits_per_s // rate_hz + padding
    return FrameHeader(version, layer, rate_hz, data[3] >> 6 == _MONO, length, samples)


@dataclass(slots=True)
class MpegScan:
    """Frames of an MPEG audio file."""

    first: FrameHeader
    """Header of the first frame."""
    first_bytes: bytes
    """The 4 bytes of that header."""
    damage: str = ""
    """Description of the first part that is not complete frames, or an empty string."""
    runs: list[tuple[int, int]] = field(default_factory=list)
    """Offset and length of each stretch of successive audio frames, in bytes."""
    frames: int = 0
    """Number of complete audio frames."""
    declared: list[int | None] = field(default_factory=list)
    """Number of frames by each header of the file; None where the header does not give it."""

    @property
    def samples(self) -> int:
        """Number of samples of each channel in all frames."""
        return self.frames * self.first.samples

    @property
    def is_as_declared(self) -> bool:
        """Whether the file has one header, and as many frames as the header gives."""
        return self.declared == [self.frames]

    @property
    def missing_frames(self) -> int:
        """Number of frames that the headers give and the file does not have."""
        return max(0, sum(each or 0 for each in self.declared) - self.frames)

    def add(self, file: BinaryIO, at: int, header: FrameHeader) -> None:
        """Add the complete frame at ``at``."""
        is_continued = bool(self.runs) and sum(self.runs[-1]) == at
        if not is_continued:
            count = _declared_frames(file, at, header)
            if count is not False:
                self.declared.append(count)
                return
            self.runs.append((at, 0))
        start, length = self.runs[-1]
        self.runs[-1] = start, length + header.length_bytes
        self.frames += 1


def scan(file: BinaryIO) -> MpegScan | None:
    """Read the headers of all frames, in constant memory.

    Args:
        file: the whole file, seekable.

    Returns:
        The frames; None if there are none.

    Raises:
        OSError: it cannot be read.
    """
    size = file.seek(0, os.SEEK_END)
    found: MpegScan | None = None
    damage = ""
    at = 0
    while at < size:
        head = _read(file, at, HEADER_BYTES)
        header = parse_header(head)
        if header is not None and found is None and _is_followed(file, at, header, size):
            found = MpegScan(header, head)
        if header is not None and found is not None and header.is_like(found.first):
            if at + header.length_bytes > size:
                damage = damage or f"its last frame, at byte {at}, is incomplete"
                break
            found.add(file, at, header)
            at += header.length_bytes
        elif tag_bytes := _tag_bytes(file, at, size):
            at += tag_bytes
        else:
            resumed = _next_frame(file, at + 1, size)
            # A recording of a stream begins within a frame.
            is_first = found is None and resumed - at < _LONGEST_FRAME_BYTES
            if not (damage or is_first or _is_padding(file, at, resumed)):
                damage = (
                    f"{resumed - at} bytes from byte {at} on are not audio frames"
                    if header is None
                    else f"its sample rate or its number of channels changes at byte {at}"
                )
            at = resumed
    if found is not None:
        found.damage = damage
    return found


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    return file.read(length)


def _is_followed(file: BinaryIO, at: int, header: FrameHeader, size: int) -> bool:
    """Return whether a frame, the end of the file or a tag follows the frame at ``at``."""
    after = at + header.length_bytes
    if after >= size:
        return after == size or at == 0
    following = parse_header(_read(file, after, HEADER_BYTES))
    if following is not None:
        return following.is_like(header)
    return bool(_tag_bytes(file, after, size)) or not any(_read(file, after, HEADER_BYTES))


def _next_frame(file: BinaryIO, at: int, size: int) -> int:
    """Return the offset of the next frame or tag from ``at`` on, or the size of the file."""
    while at < size:
        data = _read(file, at, _SEARCHED_BYTES + _APE_HEADER_BYTES)
        for match in _STARTS.finditer(data):
            start = at + match.start()
            header = parse_header(data[match.start() : match.start() + HEADER_BYTES])
            if header is not None:
                if _is_followed(file, start, header, size):
                    return start
            elif _tag_bytes(file, start, size):
                return start
        at += _SEARCHED_BYTES
    return size


def _is_padding(file: BinaryIO, at: int, end: int) -> bool:
    """Return whether the bytes are zeros, or the items of an APE tag that has only a footer."""
    footer = _read(file, end, _APE_HEADER_BYTES)
    if footer[:8] == b"APETAGEX":
        return end + _APE_HEADER_BYTES - int.from_bytes(footer[12:16], "little") == at
    while at < end:
        data = _read(file, at, min(_SEARCHED_BYTES, end - at))
        if any(data):
            return False
        at += len(data)
    return True


def _tag_bytes(file: BinaryIO, at: int, size: int) -> int:
    """Return the length of the tag at ``at``, at most up to the end of the file; 0: no tag."""
    head = _read(file, at, _APE_HEADER_BYTES)
    length = 0
    if head[:3] == b"ID3" and len(head) >= _ID3V2_HEADER_BYTES and max(head[6:10]) < 0x80:  # noqa: PLR2004 - 7 bits a byte
        length = sum(each << shift for each, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        length += _ID3V2_HEADER_BYTES * (2 if head[5] & 0x10 else 1)
    elif head[:3] == b"TAG" and (at + _ID3V1_BYTES == size or _is_end_of_tag(file, at, size)):
        length = _ID3V1_BYTES
    elif head[:8] == b"APETAGEX" and len(head) == _APE_HEADER_BYTES:
        is_header = bool(int.from_bytes(head[20:24], "little") & 1 << 29)
        length = _APE_HEADER_BYTES
        length += int.from_bytes(head[12:16], "little") if is_header else 0
    elif head[:11] == b"LYRICSBEGIN":
        data = _read(file, at, _SEARCHED_BYTES)
        end = max(data.find(b"LYRICS200"), data.find(b"LYRICSEND"))
        length = end + 9 if end >= 0 else 0
    return min(length, size - at)


def _is_end_of_tag(file: BinaryIO, at: int, size: int) -> bool:
    """Return whether an ID3v1 tag inside a file of several ends at a frame or another tag."""
    after = at + _ID3V1_BYTES
    if after > size:
        return False
    following = _read(file, after, _ID3V2_HEADER_BYTES)
    return parse_header(following) is not None or following[:3] == b"ID3"


def _declared_frames(file: BinaryIO, at: int, header: FrameHeader) -> int | bool | None:
    """Return the number of frames that the header frame at ``at`` gives; False: an audio frame."""
    data = _read(file, at, min(header.length_bytes, _LONGEST_FRAME_BYTES))
    if header.layer != 3:  # noqa: PLR2004 - the headers exist for layer 3 only
        return False
    offset = HEADER_BYTES + header.side_bytes
    if data[offset : offset + 4] in {b"Xing", b"Info"}:
        if not int.from_bytes(data[offset + 4 : offset + 8], "big") & _XING_FLAG_FRAMES:
            return None
        return int.from_bytes(data[offset + 8 : offset + 12], "big")
    if data[_VBRI_OFFSET : _VBRI_OFFSET + 4] == b"VBRI":
        return int.from_bytes(data[_VBRI_OFFSET + 14 : _VBRI_OFFSET + 18], "big")
    return False


def header_frame(found: MpegScan) -> bytes:
    """Return a frame with a Xing header that gives the number of frames; empty for layers 1 and 2.

    It ends behind the number, so that no decoder finds an encoder's delay in it.
    """
    if found.first.layer != 3:  # noqa: PLR2004 - the header exists for layer 3 only
        return b""
    offset = HEADER_BYTES + found.first.side_bytes
    content = b"Xing" + _XING_FLAG_FRAMES.to_bytes(4, "big") + found.frames.to_bytes(4, "big")
    for bits in range(1, 15):
        # Bit 0 of byte 1: no checksum.
        head = bytearray(found.first_bytes)
        head[1] |= 1
        head[2] = bits << 4 | head[2] & 0x0C
        header = parse_header(bytes(head))
        if header is not None and header.length_bytes >= offset + len(content):
            frame = bytes(head) + bytes(found.first.side_bytes) + content
            return frame + bytes(header.length_bytes - len(frame))
    return b""


class SplicedFile:
    """Stretches of a file behind a prefix, as one seekable file for libsndfile. One thread.

    Args:
        file: the file; the caller closes it.
        prefix: bytes before the first stretch.
        runs: offset and length of each stretch.
    """

    def __init__(self, file: BinaryIO, prefix: bytes, runs: list[tuple[int, int]]) -> None:
        self._file = file
        self._prefix = prefix
        self._runs = runs
        self._size = len(prefix) + sum(length for _, length in runs)
        self._at = 0

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position; return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, target: object) -> int:
        """Fill the buffer ``target``, or less at the end; return the number of bytes."""
        view = memoryview(target).cast("B")  # type: ignore[arg-type] # a buffer of cffi has no type
        done = 0
        while done < len(view) and (part := self._part(len(view) - done)):
            view[done : done + len(part)] = part
            done += len(part)
            self._at += len(part)
        return done

    def _part(self, length: int) -> bytes:
        """Return bytes from the position on, at most to the end of a stretch; empty at the end."""
        at = self._at
        if at < len(self._prefix):
            return self._prefix[at : at + length]
        at -= len(self._prefix)
        for offset, run in self._runs:
            if at < run:
                return _read(self._file, offset + at, min(run - at, length))
            at -= run
        return b""
