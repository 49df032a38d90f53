"""FLAC encoder: 16 bits, mono, FLAC's fixed predictors (RFC 9639).

soundfile is not used here because its callbacks need writable and executable memory on Debian,
which the sandbox of hear forbids, and because its libraries leave copies of the audio in memory
(``docs/decisions/0016``). Files are 2.5 % larger than libFLAC's. The format is big-endian except
for the comments.

A frame is a row of bit fields, each a value and a length in bits. A Rice code is one field: its
leading zeros are the part of the length to the left of the value.
"""

import math
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener import digests
from listener.audio.pcm import Samples

BLOCK_SAMPLES: Final = 4096
_BLOCK_CODE: Final = 0b1100  # code of 4096 in a frame header; 0b0111: the length follows
RATE_CODES_HZ: Final = {
    4: 8_000,
    5: 16_000,
    6: 22_050,
    7: 24_000,
    8: 32_000,
    9: 44_100,
    10: 48_000,
}
"""Sample rates by their code in a frame header, in Hz (RFC 9639, section 9.1.2)."""
RATE_OF_THE_STREAM: Final = 0
"""Code of a frame header whose rate is that of STREAMINFO."""
_RATE_CODES: Final = {rate_hz: code for code, rate_hz in RATE_CODES_HZ.items()}
"""Codes in a frame header. Chromium plays no file whose frames name the rate of the stream."""
_PARTITIONS: Final = 16
_MOST_ORDER: Final = 4
_MOST_RICE: Final = 14  # 15 is an escape code
_SAMPLE_BITS: Final = 16
_FIRST: Final = 2 + _MOST_ORDER
_RICE_FROM: Final = tuple(2 ** (rice + 0.5) / math.log(2) for rice in range(_MOST_RICE))
_POLYNOMIAL_8: Final = 0x07
_POLYNOMIAL_16: Final = 0x8005
_CRC_BITS: Final = 16
_VENDOR: Final = b"earmark"
_STREAMINFO: Final = 0
_PADDING: Final = 1
_COMMENTS: Final = 4
_BLOCK_HEADER_BYTES: Final = 4
_LAST: Final = 0x80

_Ints = NDArray[np.int32]
_Fields = tuple[_Ints, _Ints]
"""Values, and their lengths in bits."""


def to_flac(samples: Samples, rate_hz: int, comment: str, multiple_bytes: int = 1) -> bytes:
    """Encode samples as a FLAC file.

    Args:
        samples: int16, shape (n,), n at least 1.
        rate_hz: sample rate, below 65536.
        comment: text of the COMMENT tag.
        multiple_bytes: the file is filled with a PADDING block to a multiple of this length, so
            that its length says less about the sound; 1: no such block.
    """
    # One block at a time: its arrays are small enough for malloc to reuse their memory, which costs
    # less than numpy's calls (see `system.malloc`).
    frames = [
        _frame(
            number,
            len(samples) - first,
            _encode_block(samples[first : first + BLOCK_SAMPLES]),
            rate_code(rate_hz),
        )
        for number, first in enumerate(range(0, len(samples), BLOCK_SAMPLES))
    ]
    lengths = [len(frame) for frame in frames]
    tag = f"COMMENT={comment}".encode()
    comments = _encode_string(_VENDOR) + (1).to_bytes(4, "little") + _encode_string(tag)
    plain = np.ascontiguousarray(samples, "<i2")
    about = (
        2 * BLOCK_SAMPLES.to_bytes(2, "big")
        + min(lengths).to_bytes(3, "big")
        + max(lengths).to_bytes(3, "big")
        + (rate_hz << 44 | (_SAMPLE_BITS - 1) << 36 | len(samples)).to_bytes(8, "big")
        + digests.md5(plain.data.cast("B"))
    )
    last = _LAST if multiple_bytes == 1 else 0
    head = b"fLaC" + _block(_STREAMINFO, about) + _block(_COMMENTS | last, comments)
    if not last:
        unfilled_bytes = len(head) + _BLOCK_HEADER_BYTES + sum(lengths)
        head += _block(_PADDING | _LAST, bytes(-unfilled_bytes % multiple_bytes))
    return b"".join((head, *frames))


def rate_code(rate_hz: int) -> int:
    """Return the code of a rate in a frame header; `RATE_OF_THE_STREAM` for one without a code."""
    return _RATE_CODES.get(rate_hz, RATE_OF_THE_STREAM)


def begin_header(block_code: int, rate_code: int) -> bytes:
    """Return the first four bytes of a frame header: mono, 16 bits, fixed block size."""
    return bytes([0xFF, 0xF8, block_code << 4 | rate_code, 0b100 << 1])


def _encode_string(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + text


def _block(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + len(data).to_bytes(3, "big") + data


def _frame(number: int, left_samples: int, body: bytes, code: int) -> bytes:
    """Return a frame: header, packed samples, and a checksum of both."""
    is_whole = left_samples >= BLOCK_SAMPLES
    header = begin_header(_BLOCK_CODE if is_whole else 0b0111, code)
    header += chr(number).encode("utf-8", "surrogatepass")
    if not is_whole:
        header += (left_samples - 1).to_bytes(2, "big")
    header += bytes([crc_8(header)])
    return header + body + crc_16(header + body).to_bytes(2, "big")


def _encode_block(samples: Samples) -> bytes:
    """Return the subframe of a block, padded with zero bits."""
    partitions = _PARTITIONS if len(samples) == BLOCK_SAMPLES else 1
    return _pack_fields(*_fields(samples.astype(np.int32), partitions))


def _fields(block: _Ints, partitions: int) -> tuple[_Ints, _Ints]:
    """Return a block as a row of fields: their values, and their lengths in bits.

    Args:
        block: int32, shape (n,).
        partitions: partitions of the block, each with its own Rice parameter; a power of two.
    """
    residuals = [block]
    for _ in range(min(_MOST_ORDER, len(block) // partitions - 1)):
        residuals.append(residuals[-1][1:] - residuals[-1][:-1])
    order = int(np.argmin([np.abs(residual).sum() for residual in residuals]))
    # 0, -1, 1, -2, … as 0, 1, 2, 3, …
    folded = np.zeros_like(block)
    folded[order:] = residuals[order] << 1 ^ residuals[order] >> 31
    rows = folded.reshape(partitions, -1)
    counts = np.full(partitions, rows.shape[1])
    counts[0] -= order
    # The best parameter for a geometric distribution; trying all parameters takes longer.
    means = rows.sum(1) / np.maximum(counts, 1)
    rice = np.searchsorted(_RICE_FROM, means, side="right").astype(np.int32)
    each = rice[:, None]
    # The subframe header (type, warm-up samples, partition order), then the partitions.
    values = np.zeros(_FIRST + partitions + len(block), np.int32)
    lengths = np.zeros_like(values)
    codes, sizes = (array[_FIRST:].reshape(partitions, -1) for array in (values, lengths))
    codes[:, 0], sizes[:, 0] = rice, 4
    codes[:, 1:] = np.int32(1) << each | rows & (np.int32(1) << each) - 1
    sizes[:, 1:] = (rows >> each) + 1 + each
    # Warm-up samples are in the header, so their fields here are empty.
    codes[0, 1 : 1 + order] = sizes[0, 1 : 1 + order] = 0
    values[0], lengths[0] = 0b001000 << 1 | order << 1, 8
    values[1 : 1 + order] = block[:order] & 0xFFFF
    lengths[1 : 1 + order] = _SAMPLE_BITS
    values[_FIRST - 1], lengths[_FIRST - 1] = partitions.bit_length() - 1, 6
    # Noise is stored verbatim if that is shorter.
    if lengths.sum() >= 8 + len(block) * _SAMPLE_BITS:
        values[:], lengths[:] = 0, 0
        values[0], lengths[0] = 0b000001 << 1, 8
        values[1 : 1 + len(block)] = block & 0xFFFF
        lengths[1 : 1 + len(block)] = _SAMPLE_BITS
    return values, lengths


def _pack_fields(values: _Ints, lengths: _Ints) -> bytes:
    """Return fields as bytes, padded with zero bits.

    Args:
        values: int32, shape (m,); at most 32 bits each.
        lengths: lengths in bits, same shape; the first is not 0.
    """
    ends = np.cumsum(lengths, dtype=np.int32)
    count_bytes = -(-int(ends[-1]) // 8)
    ends -= 1
    # Each value ends in a word of 32 bits and may begin in the word before.
    place = ends >> 5
    shifted = values.astype(np.int64) << (31 - (ends & 31))
    # Fields share no bit, so addition joins them; doubles are exact up to 2 ** 53.
    words = np.bincount(place + 1, shifted & 0xFFFFFFFF)
    words += np.bincount(place, shifted >> 32, len(words))
    return words[1:].astype(">u4").tobytes()[:count_bytes]


def crc_8(data: bytes) -> int:
    """Return the CRC-8 of a frame header (RFC 9639, 9.1.8)."""
    rest = 0
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = (rest << 1 ^ _POLYNOMIAL_8 if rest & 0x80 else rest << 1) & 0xFF
    return rest


def crc_16(data: bytes) -> int:
    """Return the CRC-16 of a frame (RFC 9639, 9.3)."""
    # The CRC is linear: it is the sum of the CRCs of the single bits that are set.
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    remainders = _bit_remainders(1 << (len(bits) - 1).bit_length())
    return int(np.bitwise_xor.reduce(remainders[-len(bits) :] * bits))


@cache
def _bit_remainders(count: int) -> NDArray[np.uint16]:
    """Return the CRC of a bit that is followed by ``count`` - 1, ``count`` - 2, … 0 other bits."""
    row = np.zeros(max(count, _CRC_BITS), np.uint16)
    """x to the power of 16 + place, modulo the polynomial."""
    rest = _POLYNOMIAL_16
    for place in range(_CRC_BITS):
        row[place] = rest
        rest = (rest << 1 ^ _POLYNOMIAL_16 if rest & 0x8000 else rest << 1) & 0xFFFF
    done = _CRC_BITS
    while done < count:
        # A remainder is a sum of powers below 16; each of them, ``done`` places on, is known.
        known, more = row[:done], min(done, count - done)
        for power in range(_CRC_BITS):
            is_set = known[:more] >> power & 1
            row[done : done + more] ^= is_set * row[done + power - _CRC_BITS]
        done += more
    return row[:count][::-1].copy()
