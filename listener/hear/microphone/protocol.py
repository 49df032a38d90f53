"""Protocol of the microphone process's pipe: records of a type, a length and a payload.

Both ends import it; the child must start fast, so this module imports neither numpy nor
dataclasses. The parent treats the child as hostile: all invalid bytes raise `ProtocolError`.
"""

import struct
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

HEADER: Final = struct.Struct("<II")
"""Type, and length of the payload in bytes; eight bytes, so that the samples are aligned."""

_OPENED: Final = struct.Struct("<II")
_SAMPLE_BYTES: Final = 2
_LONGEST_CAUSE_BYTES: Final = 16
_HIGHEST_RATE_HZ: Final = 768_000
_MOST_CHANNELS: Final = 1_024


class RecordType(IntEnum):
    """Type of a record, the first u32 of its header; all numbers are little endian."""

    OPENED = 1
    """The device is open; payload: its sample rate and the number of channels read, both u32."""
    SOUND = 2
    """A block; payload: int16, little endian, mono, at the rate on the child's command line."""
    OVERRUN = 3
    """Samples were lost before the next block; no payload."""
    FAILED = 4
    """The last record; payload: a `Cause` in ASCII."""


class Cause(StrEnum):
    """Reason why there is no sound. A closed set: a driver's texts are never passed on."""

    MISSING = "missing"
    """There is no such device."""
    BUSY = "busy"
    """Another program has opened it."""
    DENIED = "denied"
    """This user may not open it."""
    CHANNEL = "channel"
    """It has no such channel."""
    RATE = "rate"
    """It offers no usable sample rate."""
    LIBRARY = "library"
    """PortAudio is not installed."""
    GONE = "gone"
    """It was unplugged, or its driver failed."""
    STALLED = "stalled"
    """It delivered nothing within the timeout."""
    ZEROS = "zeros"
    """Its samples are all the same: cut off by the switch, or a broken wire."""
    GARBLED = "garbled"
    """The microphone process sent invalid data."""
    DIED = "died"
    """The microphone process ended without a record."""


CHILD_CAUSES: Final = frozenset(
    {
        Cause.MISSING,
        Cause.BUSY,
        Cause.DENIED,
        Cause.CHANNEL,
        Cause.RATE,
        Cause.LIBRARY,
        Cause.GONE,
    }
)
"""Causes that the child may send; the parent detects the others."""


class OpenedRecord(NamedTuple):
    """Record: the device is open."""

    rate_hz: int
    """Sample rate of the device."""
    channels: int
    """Number of channels read; one of them is used."""


class BlockRecord(NamedTuple):
    """Record: a block of sound."""

    payload: memoryview
    """int16, little endian; a view of the reader's memory, valid until the next record."""


class OverrunRecord(NamedTuple):
    """Record: samples were lost here."""


class FailedRecord(NamedTuple):
    """Record: the child failed and ends."""

    cause: Cause


Record = OpenedRecord | BlockRecord | OverrunRecord | FailedRecord


class ProtocolError(ValueError):
    """The bytes are not a record."""


def encode_opened(rate_hz: int, channels: int) -> bytes:
    """Return the record of an open device: its sample rate and the channels read."""
    payload = _OPENED.pack(rate_hz, channels)
    return HEADER.pack(RecordType.OPENED, len(payload)) + payload


def encode_failed(cause: Cause) -> bytes:
    """Return the record of a failure, the last one."""
    payload = cause.value.encode("ascii")
    return HEADER.pack(RecordType.FAILED, len(payload)) + payload


def encode_overrun() -> bytes:
    """Return the record of lost samples."""
    return HEADER.pack(RecordType.OVERRUN, 0)


class Reader:
    """Parser of records from bytes that arrive in pieces of any size; copies none. One thread.

    Args:
        memory: writeable bytes: the size of the header plus the longest accepted payload. The
            caller owns it and wipes it.
    """

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._filled = 0
        self._wanted = HEADER.size
        self._type: RecordType | None = None

    def room(self) -> memoryview:
        """Return the memory to read the next bytes into; never empty."""
        return self._memory[self._filled : self._wanted]

    def take(self, count_bytes: int) -> Record | None:
        """Accept ``count_bytes`` written into `room`; return the record they complete, or None.

        Raises:
            ProtocolError: they are not a record. The reader cannot be used any more.
        """
        self._filled += count_bytes
        if self._filled < self._wanted:
            return None
        if self._type is None:
            number, length_bytes = HEADER.unpack_from(self._memory)
            self._type = self._check_header(number, length_bytes)
            self._wanted += length_bytes
            if length_bytes:
                return None
        record = _parse(self._type, self._memory[HEADER.size : self._wanted])
        self._type, self._filled, self._wanted = None, 0, HEADER.size
        return record

    def _check_header(self, number: int, length_bytes: int) -> RecordType:
        try:
            record_type = RecordType(number)
        except ValueError:
            raise ProtocolError(f"unknown record type {number}") from None
        fits = {
            RecordType.OPENED: length_bytes == _OPENED.size,
            RecordType.SOUND: 0 < length_bytes <= len(self._memory) - HEADER.size
            and length_bytes % _SAMPLE_BYTES == 0,
            RecordType.OVERRUN: length_bytes == 0,
            RecordType.FAILED: 0 < length_bytes <= _LONGEST_CAUSE_BYTES,
        }
        if not fits[record_type]:
            raise ProtocolError(
                f"invalid length of a record of type {number}: {length_bytes} bytes"
            )
        return record_type


def _parse(record_type: RecordType, payload: memoryview) -> Record:
    match record_type:
        case RecordType.SOUND:
            return BlockRecord(payload)
        case RecordType.OVERRUN:
            return OverrunRecord()
        case RecordType.OPENED:
            rate_hz, channels = _OPENED.unpack(payload)
            if not (0 < rate_hz <= _HIGHEST_RATE_HZ and 0 < channels <= _MOST_CHANNELS):
                raise ProtocolError("sample rate or number of channels out of range")
            return OpenedRecord(rate_hz, channels)
        case RecordType.FAILED:
            text = bytes(payload).decode("ascii", "replace")
            if text not in CHILD_CAUSES:
                raise ProtocolError("unknown cause")
            return FailedRecord(Cause(text))
