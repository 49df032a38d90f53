"""Decoder of the FLAC files that `flac` writes, by numpy alone (RFC 9639).

libsndfile reads from memory through callbacks, which need memory that is writable and executable:
``MemoryDenyWriteExecute=`` forbids that (``docs/decisions/0016``), and its libraries leave copies
of the audio. Only what `flac.to_flac` writes is read: one size of block, fixed predictors, Rice
codes, verbatim blocks.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener import digests
from listener.audio.flac import BLOCK_SAMPLES
from listener.audio.flac_parser import FlacFile
from listener.audio.pcm import Samples

_METADATA_AT: Final = 4
_LAST: Final = 0x80
_WHOLE_CODE: Final = 0b1100
_FRAME_BYTES: Final = 2 * BLOCK_SAMPLES + 64
_VERBATIM: Final = 0b000001
_FIXED: Final = range(0b001000, 0b001101)
_ESCAPE: Final = 15
_LOWEST: Final = -(1 << 15)
_HIGHEST: Final = (1 << 15) - 1

_Numbers = NDArray[np.int64]


class OtherEncoderError(ValueError):
    """FLAC file of a form that `flac.to_flac` does not write."""

    def __init__(self) -> None:
        super().__init__("the FLAC file is of another encoder")


def read_samples(data: bytes, parsed: FlacFile) -> Samples:
    """Return the samples of a file that `flac.to_flac` wrote, compared with its MD5.

    Args:
        data: the file.
        parsed: its structure, as `flac_parser.parse_flac` returned it for these bytes.

    Returns:
        int16, shape (n,).

    Raises:
        OtherEncoderError: another encoder wrote the file.
        ValueError: it is damaged. Nothing else is raised.
    """
    samples = np.zeros(parsed.samples, np.int16)
    at = _find_first_frame(data)
    for number, first in enumerate(range(0, parsed.samples, BLOCK_SAMPLES)):
        count = min(BLOCK_SAMPLES, parsed.samples - first)
        frame = data[at : at + _FRAME_BYTES]
        header_bytes = _measure_header(frame, number, count)
        block, size = _decode_subframe(frame[header_bytes:], count)
        samples[first : first + count] = block
        block[:] = 0
        at += header_bytes + size + 2  # a checksum, which the parser has verified
    if digests.md5(samples.astype("<i2", copy=False).data.cast("B")) != parsed.md5:
        samples[:] = 0
        raise ValueError("the FLAC file is damaged")
    return samples


def _find_first_frame(data: bytes) -> int:
    at, is_last = _METADATA_AT, False
    while not is_last and at + 4 <= len(data):
        is_last = bool(data[at] & _LAST)
        at += 4 + int.from_bytes(data[at + 1 : at + 4], "big")
    return at


def _measure_header(frame: bytes, number: int, count: int) -> int:
    """Return the length of a frame's header, which is that of `flac`."""
    is_whole = count == BLOCK_SAMPLES
    size_code = _WHOLE_CODE if is_whole else 0b0111
    start = bytes([0xFF, 0xF8, size_code << 4, 0b100 << 1])
    start += chr(number).encode("utf-8", "surrogatepass")
    start += b"" if is_whole else (count - 1).to_bytes(2, "big")
    if not frame.startswith(start):
        raise OtherEncoderError
    return len(start) + 1


def _decode_subframe(data: bytes, count: int) -> tuple[_Numbers, int]:
    """Return the samples of a subframe, and its length in bytes."""
    if not data or data[0] & 0x81:
        raise OtherEncoderError
    kind = data[0] >> 1
    if kind == _VERBATIM and len(data) > 2 * count:
        plain = np.frombuffer(data, ">i2", count, 1)
        return plain.astype(np.int64), 1 + 2 * count
    if kind not in _FIXED:
        raise OtherEncoderError
    order = kind - _FIXED.start
    warm_up = np.frombuffer(data, ">i2", order, 1).astype(np.int64) if order else _none()
    residual, bits = _RiceReader(data, 8 + 16 * order).read(count, order)
    samples = _integrate(warm_up, residual)
    if len(samples) and not _LOWEST <= samples.min() <= samples.max() <= _HIGHEST:
        raise ValueError("the FLAC file is damaged")
    return samples, -(-bits // 8)


def _integrate(warm_up: _Numbers, residual: _Numbers) -> _Numbers:
    """Return the samples whose difference of the order of ``warm_up``'s length is ``residual``."""
    row = residual
    for order in reversed(range(len(warm_up))):
        last = np.diff(warm_up, n=order)[-1]
        row = last + np.cumsum(row)
    return np.concatenate((warm_up, row))


class _RiceReader:
    """A cursor over the residual of one subframe."""

    def __init__(self, data: bytes, at: int) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8))
        end = len(self._bits)
        places = np.where(self._bits, np.arange(end, dtype=np.int32), np.int32(end))
        self._next_ones = np.ascontiguousarray(np.minimum.accumulate(places[::-1])[::-1]).data
        self._end = end
        self._at = at

    def read(self, count: int, order: int) -> tuple[_Numbers, int]:
        """Return the residual of ``count`` - ``order`` samples, and the position behind it."""
        if self._take(2):
            raise OtherEncoderError
        partitions = 1 << self._take(4)
        each = count // partitions
        if each * partitions != count or each < order:
            raise ValueError("the FLAC file is damaged")
        parts = [self._partition(each - (order if not part else 0)) for part in range(partitions)]
        folded = np.concatenate(parts)
        return folded >> 1 ^ -(folded & 1), self._at

    def _partition(self, count: int) -> _Numbers:
        parameter = self._take(4)
        if parameter == _ESCAPE:
            raise OtherEncoderError
        at, next_ones, step = self._at, self._next_ones, parameter + 1
        ones = [0] * count
        try:
            for index in range(count):
                one = next_ones[at]
                ones[index] = one
                at = one + step
        except IndexError:
            raise ValueError("the FLAC file is damaged") from None
        if at > self._end:
            raise ValueError("the FLAC file is damaged")
        stops = np.array(ones, np.int64)
        starts = np.concatenate(([self._at], stops[:-1] + step)) if count else stops
        self._at = at
        values = stops - starts
        for place in range(1, step):
            values = values << 1 | self._bits[stops + place]
        return values

    def _take(self, bits: int) -> int:
        if self._at + bits > self._end:
            raise ValueError("the FLAC file is damaged")
        value = 0
        for bit in self._bits[self._at : self._at + bits]:
            value = value << 1 | int(bit)
        self._at += bits
        return value


def _none() -> _Numbers:
    return np.zeros(0, np.int64)
