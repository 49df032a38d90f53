import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vm.card import SECTOR_BYTES, Card
from tests.vm.nbd import CardServer

SIZE = 16 * SECTOR_BYTES


def sector(byte: int) -> bytes:
    return bytes([byte]) * SECTOR_BYTES


def after_cut(card: Card, seed: int = 0) -> bytes:
    """Cut at a write that changes nothing."""
    card.arm(1, Random(seed), lambda: None)
    card.write(0, b"")
    card.power_up()
    return card.read(0, SIZE)


def test_flushed_data_survives_a_power_cut() -> None:
    card = Card(bytes(SIZE))
    card.write(SECTOR_BYTES, sector(1))
    card.flush()

    assert after_cut(card)[SECTOR_BYTES : 2 * SECTOR_BYTES] == sector(1)


def test_unflushed_data_can_be_lost_in_any_part() -> None:
    found = set()
    for seed in range(200):
        card = Card(bytes(SIZE))
        card.write(0, sector(1))
        card.write(SECTOR_BYTES, sector(2))
        contents = after_cut(card, seed)
        found.add((contents[0], contents[SECTOR_BYTES]))

    assert found == {(0, 0), (1, 0), (0, 2), (1, 2)}


def test_durable_write_is_not_replaced_by_an_older_one() -> None:
    for seed in range(50):
        card = Card(bytes(SIZE))
        card.write(0, sector(1) * 3)
        card.write(SECTOR_BYTES, sector(2), lasts=True)

        assert after_cut(card, seed)[SECTOR_BYTES : 2 * SECTOR_BYTES] == sector(2)


def test_guest_reads_its_last_write() -> None:
    card = Card(bytes(SIZE))
    card.write(0, sector(1))
    card.write(0, sector(2))

    assert card.read(0, SECTOR_BYTES) == sector(2)


def test_card_without_power_does_not_answer() -> None:
    card = Card(bytes(SIZE))
    after_cut(card)
    card.arm(1, Random(0), lambda: None)
    card.write(0, sector(1))

    with pytest.raises(ConnectionAbortedError):
        card.write(0, sector(1))


def test_power_cut_happens_at_the_chosen_write() -> None:
    card = Card(bytes(SIZE))
    cuts: list[int] = []
    card.arm(2, Random(1), lambda: cuts.append(1))
    card.write(0, sector(1))
    assert (cuts, card.cut()) == ([], None)

    card.write(SECTOR_BYTES, sector(2) * 2)

    cut = card.cut()
    assert cuts == [1]
    assert cut is not None
    assert cut.unflushed_sectors == 3


def test_access_beyond_the_card_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond"):
        Card(bytes(SIZE)).read(SIZE, 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["write", "lasting", "flush"]),
            st.integers(0, 12),
            st.integers(1, 4),
            st.integers(1, 255),
        ),
        max_size=20,
    ),
    st.integers(0, 2**32),
)
def test_sector_holds_the_durable_or_a_newer_write(
    steps: list[tuple[str, int, int, int]], seed: int
) -> None:
    card = Card(bytes(SIZE))
    allowed = [{0} for _ in range(16)]
    for kind, first, count, byte in steps:
        if kind == "flush":
            card.flush()
            seen = card.read(0, SIZE)
            allowed = [{seen[at * SECTOR_BYTES]} for at in range(16)]
            continue
        card.write(first * SECTOR_BYTES, sector(byte) * count, lasts=kind == "lasting")
        for at in range(first, first + count):
            allowed[at] = {byte} if kind == "lasting" else allowed[at] | {byte}

    contents = after_cut(card, seed)

    for at in range(16):
        held = contents[at * SECTOR_BYTES : (at + 1) * SECTOR_BYTES]
        assert held == sector(held[0])
        assert held[0] in allowed[at]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Card, socket.socket]]:
    card = Card(bytes(SIZE))
    with closing(CardServer(card, tmp_path / "card")), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(tmp_path / "card"))
        assert client.recv(18).startswith(b"NBDMAGICIHAVEOPT")
        client.sendall(struct.pack(">I", 3) + struct.pack(">QII", 0x49484156454F5054, 1, 0))
        assert client.recv(10) == struct.pack(">QH", SIZE, 1 | 4 | 8)
        yield card, client


def request(kind: int, offset: int, length: int, flags: int = 0) -> bytes:
    return struct.pack(">IHHQQI", 0x25609513, flags, kind, 7, offset, length)


def test_nbd_client_writes_reads_and_flushes(served: tuple[Card, socket.socket]) -> None:
    card, client = served

    client.sendall(request(1, 512, 512) + sector(9) + request(3, 0, 0) + request(0, 512, 512))

    answer = b""
    while len(answer) < 3 * 16 + 512:
        answer += client.recv(4096)
    assert answer[: 2 * 16] == struct.pack(">IIQ", 0x67446698, 0, 7) * 2
    assert answer[3 * 16 :] == sector(9)
    assert after_cut(card)[512:1024] == sector(9)


def test_unsupported_nbd_request_is_refused(served: tuple[Card, socket.socket]) -> None:
    _, client = served

    client.sendall(request(4, 0, 512))

    assert struct.unpack(">IIQ", client.recv(16))[1] == 22
