"""What the microphone's process says on its pipe: records of a kind, a length and a payload.

Both ends import this; the child's must start fast, so there is neither numpy nor a dataclass here.
The parent takes the child for hostile: whatever does not fit is `ProtocolError`.
"""

import struct
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

HEADER: Final = struct.Struct("<II")
"""Kind and length of the payload in bytes: eight bytes, so that samples behind it are aligned."""

_OPENED: Final = struct.Struct("<II")
_SAMPLE_BYTES: Final = 2
_LONGEST_CAUSE_BYTES: Final = 16
_HIGHEST_RATE_HZ: Final = 768_000
_MOST_CHANNELS: Final = 1_024


class RecordType(IntEnum):
    """What a record is."""

    OPENED = 1
    """The device is open; its own rate and the channels that are read, both u32."""
    SOUND = 2
    """int16, little endian, mono, at the rate that the parent asked for."""
    OVERRUN = 3
    """Samples were lost before the next record of sound; no payload."""
    FAILED = 4
    """The last record: a `Cause` in ASCII."""


class Cause(StrEnum):
    """Why there is no microphone. A closed set: no text of a driver comes out."""

    MISSING = "missing"
    """No such device."""
    BUSY = "busy"
    """Another program has it."""
    DENIED = "denied"
    """This user may not open it."""
    CHANNEL = "channel"
    """It has no such channel."""
    RATE = "rate"
    """It gives none of the rates that we can use."""
    LIBRARY = "library"
    """PortAudio is not installed."""
    GONE = "gone"
    """It failed: unplugged, or its driver gave up."""
    STALLED = "stalled"
    """It said nothing for too long."""
    ZEROS = "zeros"
    """Its samples are all the same: cut off by the switch, or a broken wire."""
    GARBLED = "garbled"
    """Its process wrote what is no record."""
    DIED = "died"
    """Its process ended without a word."""


SAID: Final = frozenset(
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
"""What the child may say of itself; the others are the parent's to see."""


class OpenedRecord(NamedTuple):
    """The device is open."""

    rate_hz: int
    """Its own."""
    channels: int
    """So many are read, of which one is heard."""


class BlockRecord(NamedTuple):
    """Sound."""

    payload: memoryview
    """int16, little endian; a view of the reader's memory, good until the next record."""


class OverrunRecord(NamedTuple):
    """Samples are missing here."""


class FailedRecord(NamedTuple):
    """The child ends."""

    cause: Cause


Record = OpenedRecord | BlockRecord | OverrunRecord | FailedRecord


class ProtocolError(ValueError):
    """These bytes are no record."""


def encode_opened(rate_hz: int, channels: int) -> bytes:
    """Return the record that says which rate and how many channels are read."""
    payload = _OPENED.pack(rate_hz, channels)
    return HEADER.pack(RecordType.OPENED, len(payload)) + payload


def encode_failed(cause: Cause) -> bytes:
    """Return the last record."""
    payload = cause.value.encode("ascii")
    return HEADER.pack(RecordType.FAILED, len(payload)) + payload


def encode_overrun() -> bytes:
    """Return the record of lost samples."""
    return HEADER.pack(RecordType.OVERRUN, 0)


class Reader:
    """Records out of bytes that come in pieces of any size, without a copy. One thread.

    Args:
        memory: writeable bytes, a header longer than the longest block that is accepted. The
            caller owns and wipes it.
    """

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self._filled = 0
        self._wanted = HEADER.size
        self._kind: RecordType | None = None

    def room(self) -> memoryview:
        """Return where the next bytes belong; never empty."""
        return self._memory[self._filled : self._wanted]

    def take(self, count_bytes: int) -> Record | None:
        """Note that so many bytes were written into `room`; return the record they complete.

        Raises:
            Garbled: they are no record. Nothing else is raised, and the reader is of no more use.
        """
        self._filled += count_bytes
        if self._filled < self._wanted:
            return None
        if self._kind is None:
            kind, length_bytes = HEADER.unpack_from(self._memory)
            self._kind = self._check_header(kind, length_bytes)
            self._wanted += length_bytes
            if length_bytes:
                return None
        record = _parse(self._kind, self._memory[HEADER.size : self._wanted])
        self._kind, self._filled, self._wanted = None, 0, HEADER.size
        return record

    def _check_header(self, number: int, length_bytes: int) -> RecordType:
        try:
            kind = RecordType(number)
        except ValueError:
            raise ProtocolError(f"there is no record of kind {number}") from None
        fits = {
            RecordType.OPENED: length_bytes == _OPENED.size,
            RecordType.SOUND: 0 < length_bytes <= len(self._memory) - HEADER.size
            and length_bytes % _SAMPLE_BYTES == 0,
            RecordType.OVERRUN: length_bytes == 0,
            RecordType.FAILED: 0 < length_bytes <= _LONGEST_CAUSE_BYTES,
        }
        if not fits[kind]:
            raise ProtocolError(f"a record of kind {number} has no {length_bytes} bytes")
        return kind


def _parse(kind: RecordType, payload: memoryview) -> Record:
    match kind:
        case RecordType.SOUND:
            return BlockRecord(payload)
        case RecordType.OVERRUN:
            return OverrunRecord()
        case RecordType.OPENED:
            rate_hz, channels = _OPENED.unpack(payload)
            if not (0 < rate_hz <= _HIGHEST_RATE_HZ and 0 < channels <= _MOST_CHANNELS):
                raise ProtocolError("no device has this rate or so many channels")
            return OpenedRecord(rate_hz, channels)
        case RecordType.FAILED:
            text = bytes(payload).decode("ascii", "replace")
            if text not in SAID:
                raise ProtocolError("no such cause")
            return FailedRecord(Cause(text))
