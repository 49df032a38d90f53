"""Protocol of the embedding process's pipes: requests with audio, answers with numbers.

Both ends import it. A request is a header and int16 samples, an answer a header and float32
numbers, all little endian. The parent treats the child as hostile: an answer that is not exactly
the expected one raises `EmbeddingProtocolError`.
"""

import struct
from enum import IntEnum
from typing import Final

import numpy as np

from listener.voiceprint.speech import MAX_SPEECH_SAMPLES
from listener.wakeword.features import Floats

REQUEST_HEADER: Final = struct.Struct("<II")
"""`RequestType`, and number of samples."""
ANSWER_HEADER: Final = struct.Struct("<II")
"""Type of the request, or `FAILED`; and number of values."""
LONGEST_REQUEST_SAMPLES: Final = MAX_SPEECH_SAMPLES
"""Most samples in a request."""
SPEECH_STEP_SAMPLES: Final = 512
"""Samples of a probability: a step of the voice activity detector, 32 ms at 16 kHz."""
EMBEDDING_DIMENSIONS: Final = 192
FAILED: Final = 0
"""Type of the answer of a process that cannot load its models; its last."""
_NORM_ERROR: Final = 1e-3


class RequestType(IntEnum):
    """Type of a request."""

    RESET = 1
    """Overwrite what is left of the last clip, and stay for another minute. It has no samples, and
    no answer."""
    SPEECH_START = 2
    """Probabilities of speech of the begin of a clip; one for each whole step."""
    SPEECH_NEXT = 3
    """The same for the samples that follow."""
    EMBED = 4
    """Embedding of these samples."""


class EmbeddingProtocolError(ValueError):
    """The bytes are not a request, or not the answer to one."""


def encode_request(kind: RequestType, count_samples: int) -> bytes:
    """Return the header of a request; its samples follow."""
    return REQUEST_HEADER.pack(kind, count_samples)


def parse_request(header: bytes) -> tuple[RequestType, int]:
    """Return the type of a request and its number of samples.

    Raises:
        EmbeddingProtocolError: it is not a header, or too long.
    """
    number, count = REQUEST_HEADER.unpack(header)
    try:
        kind = RequestType(number)
    except ValueError:
        raise EmbeddingProtocolError(f"unknown type of request: {number}") from None
    if count > (0 if kind is RequestType.RESET else LONGEST_REQUEST_SAMPLES):
        raise EmbeddingProtocolError(f"a request of {count} samples is too long")
    return kind, count


def encode_answer(kind: RequestType, values: Floats) -> bytes:
    """Return an answer.

    Args:
        kind: of the request.
        values: float32, shape (n,).
    """
    return ANSWER_HEADER.pack(kind, len(values)) + values.astype("<f4", copy=False).tobytes()


def encode_failure() -> bytes:
    """Return the answer of a process that cannot load its models."""
    return ANSWER_HEADER.pack(FAILED, 0)


def answer_values(kind: RequestType, count_samples: int) -> int:
    """Return the number of values in the answer to a request."""
    match kind:
        case RequestType.RESET:
            return 0
        case RequestType.EMBED:
            return EMBEDDING_DIMENSIONS
        case RequestType.SPEECH_START | RequestType.SPEECH_NEXT:
            return count_samples // SPEECH_STEP_SAMPLES


def parse_answer(data: bytes, kind: RequestType, count_samples: int) -> Floats:
    """Return the values of an answer.

    Args:
        data: header and values, of the length that the request asks for.
        kind: of the request.
        count_samples: of the request.

    Returns:
        float32, shape (n,): probabilities, 0 to 1, or an embedding of norm 1.

    Raises:
        EmbeddingProtocolError: it is not the answer to this request.
    """
    number, count = ANSWER_HEADER.unpack_from(data)
    if number == FAILED:
        raise EmbeddingProtocolError("it cannot load its models")
    values = np.frombuffer(data, "<f4", offset=ANSWER_HEADER.size)
    if number != kind or not count == len(values) == answer_values(kind, count_samples):
        raise EmbeddingProtocolError("it sent another answer than was asked for")
    if not np.isfinite(values).all():
        raise EmbeddingProtocolError("it sent numbers that are not finite")
    if kind is RequestType.EMBED:
        is_valid = abs(float(np.linalg.norm(values.astype(np.float64))) - 1) <= _NORM_ERROR
    else:
        is_valid = bool(((values >= 0) & (values <= 1)).all())
    if not is_valid:
        raise EmbeddingProtocolError("it sent numbers out of their range")
    return values.astype(np.float32)
