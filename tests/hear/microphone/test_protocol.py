"""Round trip of every record; all other bytes raise `ProtocolError` and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.hear.microphone.protocol import (
    CHILD_CAUSES,
    HEADER,
    BlockRecord,
    Cause,
    FailedRecord,
    OpenedRecord,
    OverrunRecord,
    ProtocolError,
    Reader,
    Record,
    RecordType,
    encode_failed,
    encode_opened,
    encode_overrun,
)

ROOM_BYTES = 64


def block(payload: bytes) -> bytes:
    return HEADER.pack(RecordType.SOUND, len(payload)) + payload


def read(data: bytes, piece_bytes: int = 1 << 20) -> list[Record | bytes]:
    """Return all records in ``data``, a block as a copy of its bytes."""
    reader = Reader(memoryview(bytearray(HEADER.size + ROOM_BYTES)))
    records: list[Record | bytes] = []
    while data:
        room = reader.room()
        count = min(len(room), len(data), piece_bytes)
        room[:count] = data[:count]
        data = data[count:]
        record = reader.take(count)
        if record is not None:
            records.append(bytes(record.payload) if isinstance(record, BlockRecord) else record)
    return records


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(1, 768_000), st.integers(1, 1_024)).map(
                lambda x: OpenedRecord(*x)
            ),
            st.binary(min_size=1, max_size=ROOM_BYTES // 2).map(lambda x: x + x),
            st.just(OverrunRecord()),
            st.sampled_from(sorted(CHILD_CAUSES)).map(FailedRecord),
        ),
        max_size=8,
    ),
    st.integers(1, 40),
)
def test_records_round_trip_in_pieces_of_any_size(
    records: list[Record | bytes], piece_bytes: int
) -> None:
    data = b""
    for record in records:
        match record:
            case OpenedRecord(rate_hz, channels):
                data += encode_opened(rate_hz, channels)
            case bytes():
                data += block(record)
            case FailedRecord(cause):
                data += encode_failed(cause)
            case _:
                data += encode_overrun()

    assert read(data, piece_bytes) == records


@given(st.binary(max_size=400), st.integers(1, 40))
def test_any_bytes_are_records_or_a_protocol_error(data: bytes, piece_bytes: int) -> None:
    try:
        records = read(data, piece_bytes)
    except ProtocolError:
        return

    assert all(isinstance(x, bytes | OpenedRecord | OverrunRecord | FailedRecord) for x in records)


@given(st.binary(min_size=8, max_size=8), st.binary(max_size=80))
def test_any_header_is_a_record_or_a_protocol_error(header: bytes, rest: bytes) -> None:
    # Closer to valid than arbitrary bytes: a small type and a small length.
    near = bytes([header[0] % 6, 0, 0, 0, header[4] % 80, 0, 0, 0])

    for start in (header, near):
        try:
            read(start + rest)
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    "data",
    [
        HEADER.pack(0, 0),
        HEADER.pack(5, 0),
        HEADER.pack(1 << 31, 0),
        HEADER.pack(RecordType.SOUND, 0),
        HEADER.pack(RecordType.SOUND, 3) + b"abc",
        HEADER.pack(RecordType.SOUND, ROOM_BYTES + 2),
        HEADER.pack(RecordType.SOUND, 0xFFFF_FFFE),
        HEADER.pack(RecordType.OVERRUN, 2),
        HEADER.pack(RecordType.OPENED, 4),
        encode_opened(0, 1),
        encode_opened(16_000, 0),
        encode_opened(16_000, 1_025),
        encode_opened(4_000_000_000, 1),
        HEADER.pack(RecordType.FAILED, 0),
        HEADER.pack(RecordType.FAILED, 17),
        HEADER.pack(RecordType.FAILED, 5) + b"alexa",
        HEADER.pack(RecordType.FAILED, 2) + b"\xff\xff",
        encode_failed(Cause.STALLED),  # detected by the parent, never sent by the child
    ],
)
def test_invalid_records_raise_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(data)
