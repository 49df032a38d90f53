"""Parser of the structure of a clip's FLAC file (RFC 9639), which does not make its samples.

Decoders disagree about files with several comments, unknown blocks, or bytes between and behind the
frames: one shows or plays what another does not. A clip has one reading: STREAMINFO, one comment,
then frames of one block size, each with valid checksums, up to the last byte. Both encoders that
speakers have used, ``audio/flac.py`` and libFLAC through libsndfile, write this form.

The position of a Rice code follows from the code before it, so a loop visits each sample. The
parser notes where the codes end; `flac_reader` needs no second loop.
"""

from array import array
from dataclasses import dataclass, field
from itertools import repeat
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.audio.flac import RATE_CODES_HZ, crc_8, crc_16

MAGIC: Final = b"fLaC"
LEAST_BLOCK_SAMPLES: Final = 1024
MOST_BLOCK_SAMPLES: Final = 16_384
MOST_SAMPLES: Final = 60_001 * 48
"""The longest clip at the highest rate; it bounds the time that a hostile file costs."""
_STREAMINFO: Final = 0
_PADDING: Final = 1
_COMMENTS: Final = 4
_STREAMINFO_BYTES: Final = 34
_LONGEST_VENDOR_BYTES: Final = 256
_TAG: Final = b"COMMENT="
_SAMPLE_BITS: Final = 16
CONSTANT: Final = 0  # types of subframes, RFC 9639, section 9.2.1
VERBATIM: Final = 1
FIXED_PREDICTORS: Final = range(8, 13)  # of order 0 to 4
_LINEAR_PREDICTORS: Final = range(32, 64)  # of order 1 to 32
_MOST_PRECISION_BITS: Final = 15  # of a linear predictor's coefficients; 16 is reserved
_BLOCK_8_BITS: Final = 6  # code in a frame header: the block size follows in 8 bits
_BLOCK_16_BITS: Final = 7
_BLOCK_256: Final = 8  # and each code above it, twice as many
_BLOCK_SIZES: Final = {1: 192, 2: 576, 3: 1152, 4: 2304, 5: 4608}
_RATE_BYTES: Final = {12: (1, 1000), 13: (2, 1), 14: (2, 10)}
"""Codes after which the rate follows: in how many bytes, and in which unit in Hz."""
_BITS_CODES: Final = (0, 4)  # as in STREAMINFO, or 16
_MOST_FRAME_BYTES_A_SAMPLE: Final = 2  # encoders store a block verbatim before it gets longer
_FRAME_OVERHEAD_BYTES: Final = 64
_WINDOW_BYTES: Final = 1000
"""Bytes whose bits are looked up together: the table of 32,000 bytes is just below the blocks that
`system.malloc` maps anew each time, which costs more than the table itself."""
_LONGEST_STEP: Final = 32
"""More bits than a Rice code has behind its zeros, and more than one bit."""
_NO_PLACES: Final = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class RicePartition:
    """A partition of Rice codes."""

    first_bit: int
    """Position of the first code in the subframe, in bits."""
    codes: int
    """Number of codes."""
    parameter: int
    """Number of bits behind the one that ends a code's zeros."""


@dataclass(frozen=True, slots=True)
class Subframe:
    """Structure of one frame's samples, for a decoder."""

    first_byte: int
    """Position in the file."""
    kind: int
    """Type by RFC 9639, section 9.2.1, in 6 bits."""
    samples: int
    """Number of samples."""
    is_plain: bool
    """Whether it has no wasted bits, and its residual is of 4-bit Rice parameters alone."""
    partitions: tuple[RicePartition, ...]
    """Partitions of its residual; without those of no code."""
    ones: NDArray[np.int32]
    """Position in the subframe of the bit that ends the zeros of each code, in bits; empty if it is
    not plain."""


@dataclass(frozen=True, slots=True)
class FlacFile:
    """The structure of a clip's FLAC file."""

    comment: str
    """Text of the COMMENT tag."""
    rate_hz: int
    """Sample rate."""
    samples: int
    """Number of samples."""
    md5: bytes
    """MD5 of the samples as little-endian int16, 16 bytes."""
    size_bytes: int = field(default=0, compare=False)
    """Length of the file."""
    subframes: tuple[Subframe, ...] = field(default=(), compare=False, repr=False)
    """Structure of each frame's samples, in order. It tells the sound as the file does."""


def parse_flac(data: bytes) -> FlacFile:
    """Parse the structure of a FLAC file of 16 bits and one channel.

    Args:
        data: any bytes are safe; the time is at most proportional to their length.

    Raises:
        ValueError: it is not a FLAC file of the form that clips have. Nothing else is raised.
    """
    if not data.startswith(MAGIC):
        raise ValueError("it is not a FLAC file")
    about, comment, start = _parse_blocks(data)
    least, most = int.from_bytes(about[:2], "big"), int.from_bytes(about[2:4], "big")
    packed = int.from_bytes(about[10:18], "big")
    rate_hz, channels, bits = packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    samples = packed & (1 << 36) - 1
    if channels != 1 or bits != _SAMPLE_BITS:
        raise ValueError("it has more than one channel, or not 16 bits")
    if samples > MOST_SAMPLES:
        raise ValueError("it is longer than a clip can be")
    if least != most or not LEAST_BLOCK_SAMPLES <= most <= MOST_BLOCK_SAMPLES:
        raise ValueError("its blocks are of several sizes, too short or too long")
    subframes = _parse_frames(data, start, most, samples, rate_hz)
    return FlacFile(comment, rate_hz, samples, about[18:], len(data), subframes)


def _parse_blocks(data: bytes) -> tuple[bytes, str, int]:
    """Return the STREAMINFO block, the comment, and the position of the first frame."""
    blocks: dict[int, bytes] = {}
    at = len(MAGIC)
    is_last = False
    while not is_last:
        head, at = data[at : at + 4], at + 4
        length = int.from_bytes(head[1:], "big")
        block, at = data[at : at + length], at + length
        if at > len(data):
            raise ValueError("a metadata block is incomplete")
        is_last, kind = bool(head[0] & 0x80), head[0] & 0x7F
        if kind in blocks or kind not in {_STREAMINFO, _COMMENTS, _PADDING}:
            raise ValueError("it has a metadata block that a clip does not have")
        blocks[kind] = block
    about = blocks.get(_STREAMINFO, b"")
    if len(about) != _STREAMINFO_BYTES or next(iter(blocks)) != _STREAMINFO:
        raise ValueError("it does not begin with a STREAMINFO block")
    if _COMMENTS not in blocks or any(blocks.get(_PADDING, b"")):
        raise ValueError("it has no comment, or padding that is not 0")
    return about, _parse_comments(blocks[_COMMENTS]), at


def _parse_comments(block: bytes) -> str:
    vendor_bytes = int.from_bytes(block[:4], "little")
    rest = block[4 + vendor_bytes :]
    text = rest[8:]
    if (
        vendor_bytes > _LONGEST_VENDOR_BYTES
        or int.from_bytes(rest[:4], "little") != 1
        or int.from_bytes(rest[4:8], "little") != len(text)
        or text[: len(_TAG)].upper() != _TAG
    ):
        raise ValueError("its only tag is not COMMENT")
    return text[len(_TAG) :].decode("utf-8")


def _parse_frames(
    data: bytes, at: int, block: int, samples: int, rate_hz: int
) -> tuple[Subframe, ...]:
    subframes: list[Subframe] = []
    window = _BitWindow(data)
    left = samples
    while left > 0:
        count = min(block, left)
        frame = data[at : at + _MOST_FRAME_BYTES_A_SAMPLE * count + _FRAME_OVERHEAD_BYTES]
        header_bytes = _check_header(frame, len(subframes), count, rate_hz)
        cursor = _BitCursor(window, at + header_bytes, at + len(frame))
        subframes.append(cursor.parse_subframe(count))
        size = header_bytes + cursor.length_bytes
        if size + 2 > len(frame) or crc_16(frame[:size]) != int.from_bytes(
            frame[size : size + 2], "big"
        ):
            raise ValueError("a frame is damaged")
        at += size + 2
        left -= count
    if at != len(data):
        raise ValueError("there are bytes behind the last frame")
    return tuple(subframes)


def _check_header(frame: bytes, number: int, count: int, rate_hz: int) -> int:
    """Check a frame's header against its place in the file; return its length."""
    codes = int.from_bytes(frame[2:4], "big")
    block_code, rate_code = codes >> 12, codes >> 8 & 15
    coded = chr(number).encode("utf-8", "surrogatepass")
    at = 4 + len(coded)
    more = {_BLOCK_8_BITS: 1, _BLOCK_16_BITS: 2}.get(block_code, 0)
    size = int.from_bytes(frame[at : at + more], "big") + 1 if more else _block_size(block_code)
    at += more
    more, unit_hz = _RATE_BYTES.get(rate_code, (0, 0))
    named_hz = (
        int.from_bytes(frame[at : at + more], "big") * unit_hz
        if more
        else RATE_CODES_HZ.get(rate_code)
    )
    at += more
    if (
        frame[:2] != b"\xff\xf8"  # sync code, blocks of a fixed size
        or frame[4 : 4 + len(coded)] != coded
        or size != count
        or (rate_code and named_hz != rate_hz)
        or codes >> 4 & 15  # more than one channel
        or codes >> 1 & 7 not in _BITS_CODES
        or codes & 1
        or len(frame) <= at
        or crc_8(frame[:at]) != frame[at]
    ):
        raise ValueError("the header of a frame does not match its place")
    return at + 1


def _block_size(code: int) -> int:
    """Return the block size of a code in a frame header; 0 if it is reserved."""
    if code >= _BLOCK_256:
        return 256 << code - _BLOCK_256
    return _BLOCK_SIZES.get(code, 0)


class _BitWindow:
    """Part of a file, and for each of its bits the place of the next bit that is 1."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        """The whole file."""
        self.first_byte = 0
        """Position of the window in the file."""
        self.next_ones = array("i")
        """Place in the window of the next 1, from each place on; the window's end if there is none,
        and from some places behind its end. An array of the standard library: its single numbers
        are read faster than numpy's."""
        self.end = 0
        """Length of the window in bits."""

    def move(self, first_byte: int, end_byte: int) -> None:
        """Move the window to bytes of the file; one that begins there already doubles its length.

        Raises:
            ValueError: there is nothing more before ``end_byte``.
        """
        length = self.end // 8 if first_byte == self.first_byte else 0
        if first_byte + length >= end_byte:
            raise ValueError("a frame is incomplete")
        length = 2 * length or _WINDOW_BYTES
        part = self.data[first_byte : min(first_byte + length, end_byte)]
        bits = np.unpackbits(np.frombuffer(part, np.uint8))
        self.first_byte, self.end = first_byte, len(bits)
        ones = np.flatnonzero(bits.view(np.bool_))
        places = np.concatenate(([-1], ones, [self.end])).astype(np.int32)
        table = np.repeat(places[1:], places[1:] - places[:-1])
        self.next_ones = array("i", table.tobytes() + places[-1:].tobytes() * _LONGEST_STEP)


class _BitCursor:
    """A cursor over the bits of one subframe; positions count from the subframe's begin."""

    def __init__(self, window: _BitWindow, first_byte: int, end_byte: int) -> None:
        self._window = window
        self._first_byte = first_byte
        self._end_byte = end_byte
        self._at = 0
        self._partitions: list[RicePartition] = []
        self._ones: list[NDArray[np.int32]] = []
        self._places: list[int] = []
        """Ones that are not in `_ones` yet, by their place in the window."""
        self._is_plain = True

    @property
    def length_bytes(self) -> int:
        """Length of the subframe with its padding, after `parse_subframe`."""
        return self._at // 8

    def parse_subframe(self, count: int) -> Subframe:
        """Return the structure of a subframe of ``count`` samples.

        Raises:
            ValueError: it is not a subframe.
        """
        if self._take(1):
            raise ValueError("a subframe begins with a bit that is not 0")
        kind = self._take(6)
        bits = _SAMPLE_BITS
        if self._take(1):
            self._is_plain = False
            bits -= self._unary() + 1
        if bits < 1:
            raise ValueError("a subframe has no bits left")
        if kind == CONSTANT:
            self._skip(bits)
        elif kind == VERBATIM:
            self._skip(bits * count)
        elif kind in FIXED_PREDICTORS:
            order = kind - FIXED_PREDICTORS.start
            self._skip(bits * order)
            self._skip_residual(count, order)
        elif kind in _LINEAR_PREDICTORS:
            order = kind - _LINEAR_PREDICTORS.start + 1
            self._skip(bits * order)
            precision = self._take(4) + 1
            if precision > _MOST_PRECISION_BITS:
                raise ValueError("a subframe has a reserved precision")
            self._skip(5 + precision * order)
            self._skip_residual(count, order)
        else:
            raise ValueError("a subframe is of a reserved type")
        rest = -self._at % 8
        if self._take(rest):
            raise ValueError("the padding of a frame is not 0")
        self._convert_places()
        return Subframe(
            self._first_byte,
            kind,
            count,
            self._is_plain,
            tuple(self._partitions),
            np.concatenate(self._ones) if self._is_plain else _NO_PLACES,
        )

    def _skip_residual(self, count: int, order: int) -> None:
        method = self._take(2)
        if method > 1:
            raise ValueError("a subframe has a reserved residual")
        parameter_bits = 4 + method
        self._is_plain = self._is_plain and not method
        partitions = 1 << self._take(4)
        each = count // partitions
        if each * partitions != count or each < order:
            raise ValueError("a subframe has partitions that do not fit")
        for partition in range(partitions):
            codes = each - order if partition == 0 else each
            parameter = self._take(parameter_bits)
            if parameter == (1 << parameter_bits) - 1:  # not a Rice code: plain numbers
                self._is_plain = False
                self._skip(self._take(5) * codes)
            elif codes:
                self._skip_rice(codes, parameter)

    def _skip_rice(self, count: int, parameter: int) -> None:
        """Skip Rice codes: zeros, a one, and ``parameter`` bits each."""
        self._partitions.append(RicePartition(self._at, count, parameter))
        self._find_ones(count, parameter + 1)

    def _unary(self) -> int:
        start = self._at
        self._find_ones(1, 1)
        return self._at - 1 - start

    def _find_ones(self, count: int, step: int) -> None:
        """Find the next ones; the cursor continues ``step`` bits behind each."""
        window = self._window
        while count:
            at = self._offset + self._at - step
            next_ones = window.next_ones
            # Each takes ``step`` bits or more. Behind the window, the table returns its end.
            most = min(count, (window.end - at) // step)
            ones = [at := next_ones[at + step] for _ in repeat(None, most)]
            if ones and ones[-1] == window.end:
                del ones[ones.index(window.end) :]
            if ones:
                self._places += ones
                self._at = ones[-1] + step - self._offset
                count -= len(ones)
            else:
                self._convert_places()
                window.move(self._first_byte + self._at // 8, self._end_byte)
        self._check()

    @property
    def _offset(self) -> int:
        """Place of the subframe's begin in the window; negative if it lies before."""
        return 8 * (self._first_byte - self._window.first_byte)

    def _convert_places(self) -> None:
        places = np.fromiter(self._places, np.int32, len(self._places))
        self._ones.append(places - np.int32(self._offset))
        self._places = []

    def _take(self, bits: int) -> int:
        """Return the next bits, at most 16, as a number."""
        self._skip(bits)
        first = self._at - bits
        first_byte = self._first_byte + first // 8
        word = self._window.data[first_byte : first_byte + 3]
        return int.from_bytes(word, "big") >> 8 * len(word) - bits - first % 8 & (1 << bits) - 1

    def _skip(self, bits: int) -> None:
        self._at += bits
        self._check()

    def _check(self) -> None:
        if self._at > 8 * (self._end_byte - self._first_byte):
            raise ValueError("a frame is incomplete")
