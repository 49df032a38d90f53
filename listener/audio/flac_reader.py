"""Decoder of the FLAC files that `flac` writes, by numpy alone (RFC 9639).

libsndfile reads from memory through callbacks, which need memory that is writable and executable:
``MemoryDenyWriteExecute=`` forbids that (``docs/decisions/0016``), and its libraries leave copies
of the audio. Only what `flac.to_flac` writes is read: one size of block, fixed predictors, Rice
codes, verbatim blocks. The parser has found where the codes end, so nothing is parsed again.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from listener import digests
from listener.audio.flac import BLOCK_SAMPLES, RATE_OF_THE_STREAM, begin_header, rate_code
from listener.audio.flac_parser import FIXED_PREDICTORS, VERBATIM, FlacFile, Subframe
from listener.audio.pcm import Samples

_WHOLE_CODE: Final = 0b1100
_HEADER_BYTES: Final = 1  # of a subframe without wasted bits
_LOWEST: Final = -(1 << 15)
_HIGHEST: Final = (1 << 15) - 1
_WORD_BITS: Final = 32

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
    if len(data) != parsed.size_bytes:
        raise ValueError("the FLAC file is not the one that was parsed")
    samples = np.zeros(parsed.samples, np.int16)
    words = _view_words(data)
    first = 0
    for number, subframe in enumerate(parsed.subframes):
        _check_header(data, number, subframe, parsed.rate_hz)
        block = _decode_subframe(data, words, subframe)
        samples[first : first + len(block)] = block
        block[:] = 0
        first += len(block)
    if digests.md5(samples.astype("<i2", copy=False).data.cast("B")) != parsed.md5:
        samples[:] = 0
        raise ValueError("the FLAC file is damaged")
    return samples


def _view_words(data: bytes) -> NDArray[np.uint32]:
    """Return the 32 bits that begin at each byte; zeros follow the last."""
    return np.ndarray(len(data), ">u4", data + bytes(_WORD_BITS // 8 - 1), strides=(1,))


def _check_header(data: bytes, number: int, subframe: Subframe, rate_hz: int) -> None:
    """Check that the header of a frame is that of `flac`."""
    is_whole = subframe.samples == BLOCK_SAMPLES
    size_code = _WHOLE_CODE if is_whole else 0b0111
    after = chr(number).encode("utf-8", "surrogatepass")
    after += b"" if is_whole else (subframe.samples - 1).to_bytes(2, "big")
    end = subframe.first_byte - 1  # a checksum, which the parser has verified
    header = data[end - len(after) - 4 : end]
    # Files of before frames named their rate have the code of the stream's; the parser has
    # verified a rate that is named.
    codes = {rate_code(rate_hz), RATE_OF_THE_STREAM}
    if header not in {begin_header(size_code, code) + after for code in codes}:
        raise OtherEncoderError


def _decode_subframe(data: bytes, words: NDArray[np.uint32], subframe: Subframe) -> _Numbers:
    """Return the samples of a subframe."""
    at = subframe.first_byte + _HEADER_BYTES
    if not subframe.is_plain:
        raise OtherEncoderError
    if subframe.kind == VERBATIM:
        return np.frombuffer(data, ">i2", subframe.samples, at).astype(np.int64)
    if subframe.kind not in FIXED_PREDICTORS:
        raise OtherEncoderError
    order = subframe.kind - FIXED_PREDICTORS.start
    warm_up = np.frombuffer(data, ">i2", order, at).astype(np.int64)
    samples = _integrate(warm_up, _decode_rice(words, subframe))
    if not _LOWEST <= samples.min() <= samples.max() <= _HIGHEST:
        raise ValueError("the FLAC file is damaged")
    return samples


def _decode_rice(words: NDArray[np.uint32], subframe: Subframe) -> _Numbers:
    """Return the residual of a subframe: for each code its zeros, then the bits behind its one."""
    ones = subframe.ones.astype(np.int64)
    counts = [partition.codes for partition in subframe.partitions]
    parameters = np.repeat([partition.parameter for partition in subframe.partitions], counts)
    begins = np.empty_like(ones)
    begins[1:] = ones[:-1] + 1 + parameters[:-1]
    firsts = np.cumsum([0, *counts])[:-1]
    begins[firsts] = [partition.first_bit for partition in subframe.partitions]
    low_at = ones + 1
    # At most 14 bits behind at most 7 others of the first byte: they are in one word.
    low = words[subframe.first_byte + (low_at >> 3)].astype(np.int64)
    low = low >> _WORD_BITS - (low_at & 7) - parameters & (1 << parameters) - 1
    folded: _Numbers = ones - begins << parameters | low
    return folded >> 1 ^ -(folded & 1)


def _integrate(warm_up: _Numbers, residual: _Numbers) -> _Numbers:
    """Return the samples whose difference of the order of ``warm_up``'s length is ``residual``."""
    row = residual
    for order in reversed(range(len(warm_up))):
        last = np.diff(warm_up, n=order)[-1]
        row = last + np.cumsum(row)
    return np.concatenate((warm_up, row))
