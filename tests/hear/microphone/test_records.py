"""What crosses the pipe: every record comes back, and everything else is garbled and no worse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.hear.microphone.records import (
    HEADER,
    SAID,
    Block,
    Cause,
    Failed,
    Garbled,
    Kind,
    Opened,
    Overrun,
    Reader,
    Record,
    failed,
    opened,
    overrun,
)

ROOM_BYTES = 64


def block(payload: bytes) -> bytes:
    return HEADER.pack(Kind.SOUND, len(payload)) + payload


def read(data: bytes, piece_bytes: int = 1 << 20) -> list[Record | bytes]:
    """All records in ``data``, sound as the bytes it had when it came."""
    reader = Reader(memoryview(bytearray(HEADER.size + ROOM_BYTES)))
    records: list[Record | bytes] = []
    while data:
        room = reader.room()
        count = min(len(room), len(data), piece_bytes)
        room[:count] = data[:count]
        data = data[count:]
        record = reader.take(count)
        if record is not None:
            records.append(bytes(record.payload) if isinstance(record, Block) else record)
    return records


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(1, 768_000), st.integers(1, 1_024)).map(lambda x: Opened(*x)),
            st.binary(min_size=1, max_size=ROOM_BYTES // 2).map(lambda x: x + x),
            st.just(Overrun()),
            st.sampled_from(sorted(SAID)).map(Failed),
        ),
        max_size=8,
    ),
    st.integers(1, 40),
)
def test_records_come_back_whatever_the_pieces(
    said: list[Record | bytes], piece_bytes: int
) -> None:
    data = b""
    for record in said:
        match record:
            case Opened(rate_hz, channels):
                data += opened(rate_hz, channels)
            case bytes():
                data += block(record)
            case Failed(cause):
                data += failed(cause)
            case _:
                data += overrun()

    assert read(data, piece_bytes) == said


@given(st.binary(max_size=400), st.integers(1, 40))
def test_any_bytes_are_records_or_garbled_and_nothing_else(data: bytes, piece_bytes: int) -> None:
    try:
        records = read(data, piece_bytes)
    except Garbled:
        return

    assert all(isinstance(x, bytes | Opened | Overrun | Failed) for x in records)


@given(st.binary(min_size=8, max_size=8), st.binary(max_size=80))
def test_any_header_is_a_record_or_garbled(header: bytes, rest: bytes) -> None:
    # Nearer to the truth than arbitrary bytes: a small kind and a small length.
    near = bytes([header[0] % 6, 0, 0, 0, header[4] % 80, 0, 0, 0])

    for start in (header, near):
        try:
            read(start + rest)
        except Garbled:
            continue


@pytest.mark.parametrize(
    "data",
    [
        HEADER.pack(0, 0),
        HEADER.pack(5, 0),
        HEADER.pack(1 << 31, 0),
        HEADER.pack(Kind.SOUND, 0),
        HEADER.pack(Kind.SOUND, 3) + b"abc",
        HEADER.pack(Kind.SOUND, ROOM_BYTES + 2),
        HEADER.pack(Kind.SOUND, 0xFFFF_FFFE),
        HEADER.pack(Kind.OVERRUN, 2),
        HEADER.pack(Kind.OPENED, 4),
        opened(0, 1),
        opened(16_000, 0),
        opened(16_000, 1_025),
        opened(4_000_000_000, 1),
        HEADER.pack(Kind.FAILED, 0),
        HEADER.pack(Kind.FAILED, 17),
        HEADER.pack(Kind.FAILED, 5) + b"alexa",
        HEADER.pack(Kind.FAILED, 2) + b"\xff\xff",
        failed(Cause.STALLED),  # the parent's to see, not the child's to say
    ],
)
def test_what_no_honest_child_writes_is_garbled(data: bytes) -> None:
    with pytest.raises(Garbled):
        read(data)
