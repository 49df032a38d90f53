"""Admission of connections: bounds, which one gives way, and preference after a proof."""

from dataclasses import dataclass, field

import pytest

from listener.system.connection_table import (
    MOST_USED_NETWORKS,
    ConnectionLimits,
    ConnectionTable,
    Phase,
    peer_of,
)

LIMITS = ConnectionLimits(most=8, most_per_peer=4, most_per_network=6, grace_s=0.5)


@dataclass(eq=False)
class FakeConnection:
    name: str
    since_s: float
    phase: Phase = Phase.IDLE
    closed: list[str] = field(default_factory=list)

    def close(self) -> None:
        self.closed.append(self.name)


class Door:
    """A table, its clock, and the connections that were closed."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.closed: list[str] = []
        self.table: ConnectionTable[FakeConnection] = ConnectionTable(LIMITS, lambda: self.now_s)

    def connect(self, address: str, phase: Phase = Phase.IDLE, name: str = "") -> bool:
        self.now_s += 0.001
        made = FakeConnection(name or address, self.now_s, phase, self.closed)
        return self.table.admit(address, made)


@pytest.fixture
def door() -> Door:
    return Door()


def test_idle_connection_of_the_busiest_address_gives_way(door: Door) -> None:
    assert all(door.connect("10.0.0.1", name=f"crowd {n}") for n in range(4))
    assert all(door.connect("10.0.0.2", name=f"other {n}") for n in range(3))
    assert door.connect("10.0.0.3")

    assert door.connect("10.0.0.4")

    assert door.closed == ["crowd 0"]
    assert (len(door.table), door.table.evicted, door.table.refused) == (8, 1, 0)


def test_address_beyond_its_bound_replaces_its_own_oldest_after_the_grace(door: Door) -> None:
    assert all(door.connect("10.0.0.1", name=str(n)) for n in range(4))

    assert not door.connect("10.0.0.1")
    door.now_s += 0.5
    assert door.connect("10.0.0.1")

    assert (door.closed, door.table.refused) == (["0"], 1)


@pytest.mark.parametrize(("delay_s", "keeps_s"), [(0.0, 0.5), (0.1, 1.3), (0.25, 2.5), (10.0, 5.0)])
def test_idle_connection_keeps_its_place_while_the_server_is_late(
    door: Door, delay_s: float, keeps_s: float
) -> None:
    for number in range(8):
        assert door.connect(f"10.0.0.{number}", name=str(number))
    door.table.note_delay(delay_s)

    door.now_s = keeps_s - 0.01
    assert not door.connect("10.0.1.1")
    door.now_s = keeps_s + 0.01
    assert door.connect("10.0.1.2")

    assert door.closed == ["0"]


def test_grace_is_as_before_once_the_server_is_on_time(door: Door) -> None:
    for number in range(8):
        door.connect(f"10.0.0.{number}", name=str(number))
    door.table.note_delay(0.25)
    door.table.note_delay(0.0)

    door.now_s = 0.51
    assert door.connect("10.0.1.1")


def test_idle_gives_way_before_busy(door: Door) -> None:
    for _ in range(3):
        door.connect("10.0.0.1", Phase.BUSY)
    door.connect("10.0.0.1", name="idle")
    for _ in range(4):
        door.connect("10.0.0.2", Phase.BUSY)

    assert door.connect("10.0.0.3")

    assert door.closed == ["idle"]


def test_crowd_of_busy_connections_gives_way_to_another_address(door: Door) -> None:
    for address in ("10.0.0.1", "10.0.0.2"):
        for _ in range(4):
            door.connect(address, Phase.BUSY)

    assert door.connect("10.0.0.3")

    assert door.closed == ["10.0.0.1"]


def test_crowd_that_is_served_without_end_gives_way_to_a_newcomer(door: Door) -> None:
    crowd = [f"10.0.0.{number}" for number in range(1, 9)]
    for address in crowd:
        assert door.connect(address, Phase.BUSY)
    assert not door.connect("10.0.1.1", Phase.BUSY)
    for address in crowd:
        for _ in range(8 + 20 * (address == "10.0.0.5")):
            door.table.note_request(address)

    assert door.connect("10.0.1.1", Phase.BUSY)
    assert len(door.closed) == 1
    assert not door.connect("10.0.0.5", Phase.BUSY), "it was served most"

    door.now_s += 600
    assert not door.connect("10.0.2.1", Phase.BUSY), "none was served lately"


def test_newcomer_outlives_those_that_come_again_and_again(door: Door) -> None:
    for number in range(1, 9):
        door.connect(f"10.0.0.{number}")
        for _ in range(20):
            door.table.note_request(f"10.0.0.{number}")
    assert door.connect("10.0.1.1", name="newcomer")
    door.now_s += 1

    for number in range(1, 8):
        door.connect(f"10.0.0.{number}")

    assert "newcomer" not in door.closed


def test_first_command_of_an_owner_is_not_displaced_by_fresh_addresses(door: Door) -> None:
    for number in range(3):  # connections of one command, one after the other
        made = FakeConnection("owner", door.now_s, Phase.BUSY, door.closed)
        assert door.table.admit("10.0.1.1", made)
        door.table.note_request("10.0.1.1")
        if number < 2:
            door.table.release(made)
    for number in range(1, 40):
        door.connect(f"10.0.0.{number}", Phase.BUSY)

    assert door.closed == []


def test_remembered_networks_are_bounded(door: Door) -> None:
    for number in range(1, 9):
        door.connect(f"10.0.0.{number}", Phase.BUSY)
        for _ in range(10):
            door.table.note_request(f"10.0.0.{number}")
    for number in range(MOST_USED_NETWORKS):
        door.table.note_request(f"10.1.{number >> 8}.{number & 255}")

    assert not door.connect("10.0.1.1", Phase.BUSY), "the others are forgotten"


def test_proven_request_never_gives_way(door: Door) -> None:
    for address in ("10.0.0.1", "10.0.0.2"):
        for _ in range(4):
            door.connect(address, Phase.PROVEN)
    door.now_s += 60

    assert not door.connect("10.0.0.3")
    assert door.closed == []


def test_proven_address_is_admitted_among_as_many_addresses_as_places(door: Door) -> None:
    for number in range(8):
        door.connect(f"10.0.1.{number}")

    assert not door.connect("10.0.0.1")
    door.table.note_proof("10.0.0.1")
    assert door.connect("10.0.0.1", name="owner")
    door.now_s += 60
    for number in range(50):
        door.connect(f"10.0.2.{number}")

    assert "owner" not in door.closed
    assert door.table.is_proven("10.0.0.1")


def test_addresses_of_one_ipv6_network_are_bounded_together(door: Door) -> None:
    for number in range(6):
        assert door.connect(f"fd00::{number}")

    assert not door.connect("fd00::ffff")
    assert door.connect("fd00:0:0:1::1")
    assert door.connect("10.0.0.1")
    assert len(door.table) == 8


def test_released_connection_frees_its_place(door: Door) -> None:
    for _ in range(4):
        door.connect("10.0.0.1")
    door.table.release(next(iter(door.table)))

    assert door.connect("10.0.0.1")
    assert (door.closed, door.table.evicted) == ([], 0)


def test_remembered_proofs_are_bounded(door: Door) -> None:
    for number in range(300):
        door.table.note_proof(f"10.0.{number >> 8}.{number & 255}")

    assert not door.table.is_proven("10.0.0.0")
    assert door.table.is_proven("10.0.1.43")


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("127.0.0.1", ("127.0.0.1", "127.0.0.1")),
        ("::ffff:10.0.0.1", ("10.0.0.1", "10.0.0.1")),
        ("fe80::1%eth0", ("fe80::1", "fe80::/64")),
        ("FD00:0:0:7::1", ("fd00:0:0:7::1", "fd00:0:0:7::/64")),
        ("", ("", "")),
    ],
)
def test_peer_of_normalises_addresses(address: str, peer: tuple[str, str]) -> None:
    assert peer_of(address) == peer
