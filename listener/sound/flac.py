"""FLAC, encoded here: 16 bits, mono, by FLAC's fixed predictors.

Not by soundfile: it makes callbacks at run time, and on Debian those need memory that is written
and then run, which the sandbox forbids to hear; and its libraries leave copies of what they encode.
Files are a fortieth larger than libFLAC's. The format is RFC 9639; all of it is big-endian, but
for the comments.

A frame is a row of bit fields, each a value and a length in bits. Rice's code of a number fits: its
zeros are the field's room to the left of the value.
"""

import hashlib
import math
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener.sound.pcm import Samples

BLOCK_SAMPLES: Final = 4096
_BLOCK_CODE: Final = 0b1100  # as a frame's header says 4096; 0b0111: the length follows
_PARTITIONS: Final = 16
_MOST_ORDER: Final = 4
_MOST_RICE: Final = 14  # 15 would mean another code
_SAMPLE_BITS: Final = 16
_RICE_FROM: Final = tuple(2 ** (rice + 0.5) / math.log(2) for rice in range(_MOST_RICE))
_POLYNOMIAL_8: Final = 0x07
_POLYNOMIAL_16: Final = 0x8005
_VENDOR: Final = b"earmark"
_STREAMINFO: Final = 0
_COMMENTS: Final = 4
_LAST: Final = 0x80

_Ints = NDArray[np.int32]
_Fields = tuple[_Ints, _Ints]
"""Values, and their lengths in bits."""


def to_flac(samples: Samples, rate_hz: int, comment: str) -> bytes:
    """Encode sound.

    Args:
        samples: int16, shape (n,), n at least 1.
        rate_hz: of the samples, below 65536.
        comment: the text of its COMMENT tag.
    """
    frames = [
        _frame(number, samples[at : at + BLOCK_SAMPLES])
        for number, at in enumerate(range(0, len(samples), BLOCK_SAMPLES))
    ]
    lengths = [len(frame) for frame in frames]
    tag = f"COMMENT={comment}".encode()
    comments = _counted(_VENDOR) + (1).to_bytes(4, "little") + _counted(tag)
    plain = np.ascontiguousarray(samples, "<i2")
    about = (
        2 * BLOCK_SAMPLES.to_bytes(2, "big")
        + min(lengths).to_bytes(3, "big")
        + max(lengths).to_bytes(3, "big")
        + (rate_hz << 44 | (_SAMPLE_BITS - 1) << 36 | len(samples)).to_bytes(8, "big")
        + hashlib.md5(plain.data, usedforsecurity=False).digest()
    )
    head = b"fLaC" + _block(_STREAMINFO, about) + _block(_COMMENTS | _LAST, comments)
    return b"".join((head, *frames))


def _counted(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + text


def _block(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + len(data).to_bytes(3, "big") + data


def _frame(number: int, block: Samples) -> bytes:
    """Encode one frame: its header, the samples, and a checksum of both."""
    is_whole = len(block) == BLOCK_SAMPLES
    # Sync and fixed blocks; block size, rate as the stream's; mono, 16 bits.
    header = bytes([0xFF, 0xF8, (_BLOCK_CODE if is_whole else 0b0111) << 4, 0b100 << 1])
    header += chr(number).encode("utf-8", "surrogatepass")
    if not is_whole:
        header += (len(block) - 1).to_bytes(2, "big")
    header += bytes([_crc_8(header)])
    body = _packed(*_subframe(block.astype(np.int32), _PARTITIONS if is_whole else 1))
    return header + body + _crc_16(header + body).to_bytes(2, "big")


def _subframe(block: _Ints, partitions: int) -> _Fields:
    """Return the fields of the samples: what is left of them after the best fixed predictor."""
    residuals = [block]
    for _ in range(min(_MOST_ORDER, len(block) // partitions - 1)):
        residuals.append(np.diff(residuals[-1]))
    order = int(np.argmin([np.abs(one).sum() for one in residuals]))
    residual = residuals[order]
    # 0, -1, 1, -2, … as 0, 1, 2, 3, …
    folded = np.concatenate((np.zeros(order, np.int32), residual << 1 ^ residual >> 31))
    rows = folded.reshape(partitions, -1)
    counts = np.full(partitions, rows.shape[1])
    counts[0] -= order
    # The best length for numbers that fall off as those of sound do; to try all costs more time.
    means = rows.sum(1) / np.maximum(counts, 1)
    rice = (means[:, None] >= _RICE_FROM).sum(1).astype(np.int32)
    each = rice[:, None]
    zeros = rows >> each
    if zeros.sum() + ((rice + 1) * counts + 4).sum() >= len(block) * _SAMPLE_BITS:
        # Noise: as it is.
        whole = block & 0xFFFF, np.full(len(block), _SAMPLE_BITS, np.int32)
        return _joined(_fields((0b000001 << 1, 8)), whole)
    values = np.concatenate((each, np.int32(1) << each | rows & (np.int32(1) << each) - 1), 1)
    lengths = np.concatenate((np.full((partitions, 1), 4, np.int32), zeros + 1 + each), 1)
    # The first samples stand before all this, as they are: here they are nothing.
    values[0, 1 : 1 + order] = lengths[0, 1 : 1 + order] = 0
    begin = _fields(
        (0b001000 << 1 | order << 1, 8),
        *((int(sample) & 0xFFFF, _SAMPLE_BITS) for sample in block[:order]),
        (partitions.bit_length() - 1, 6),
    )
    return _joined(begin, (values.ravel(), lengths.ravel()))


def _fields(*fields: tuple[int, int]) -> _Fields:
    values, lengths = zip(*fields, strict=True)
    return np.array(values, np.int32), np.array(lengths, np.int32)


def _joined(first: _Fields, second: _Fields) -> _Fields:
    return np.concatenate((first[0], second[0])), np.concatenate((first[1], second[1]))


def _packed(values: _Ints, lengths: _Ints) -> bytes:
    """Return fields as bytes, the rest of the last one zero. No value has more than 32 bits."""
    ends = np.cumsum(lengths)
    count_bytes = -(-int(ends[-1]) // 8)
    words = np.zeros(count_bytes // 4 + 2)
    # Each value ends within a word of 32 bits, and may begin in the one before.
    place = (ends - 1) >> 5
    shifted = values.astype(np.int64) << (31 - (ends - 1 & 31))
    # No two share a bit, so that to add is to join; doubles do that without loss up to 2 ** 53.
    words += np.bincount(place + 1, shifted & 0xFFFFFFFF, len(words))
    words += np.bincount(place, shifted >> 32, len(words))
    return words[1:].astype(">u4").tobytes()[:count_bytes]


def _crc_8(data: bytes) -> int:
    rest = 0
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = (rest << 1 ^ _POLYNOMIAL_8 if rest & 0x80 else rest << 1) & 0xFF
    return rest


def _crc_16(data: bytes) -> int:
    # Each bit that is set adds what it alone would leave, so far from the end.
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    left = _left_by_bits(1 << (len(bits) - 1).bit_length())
    return int(np.bitwise_xor.reduce(left[-len(bits) :] * bits))


@cache
def _left_by_bits(count: int) -> NDArray[np.uint16]:
    """Return the checksum of a bit that is followed by ``count`` - 1, ``count`` - 2, … 0 others."""
    left = np.zeros(count, np.uint16)
    rest = _POLYNOMIAL_16
    for place in reversed(range(count)):
        left[place] = rest
        rest = (rest << 1 ^ _POLYNOMIAL_16 if rest & 0x8000 else rest << 1) & 0xFFFF
    return left
