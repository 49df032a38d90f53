"""The archive's turns, its roster and its retention."""

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

from listener.accesslog import Entry
from listener.archive.holdings import Gone, Holdings
from listener.archive.receive import Receiver
from listener.archive.serve import FreshRoster, Herald, Retention, Server
from listener.archive.store import FileStore
from listener.archive.vouching import Kept
from listener.envelope.format import Envelope
from listener.errors import ConfigError, Unavailable
from listener.mqtt import terms
from listener.mqtt.broker import (
    Connected,
    Delivered,
    Denied,
    Happening,
    Limits,
    Lost,
    Message,
    Waitable,
)
from listener.rights import receipt
from listener.service import Service, Stop

if TYPE_CHECKING:
    from tests.conftest import Household


class FakeClock:
    def __init__(self, now_s: float = 100.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class FakeBroker:
    def __init__(self, clock: FakeClock) -> None:
        self.happens: deque[Happening] = deque()
        self.did: list[object] = []
        self._clock = clock

    def connect(self) -> None:
        self.did.append("connect")

    def subscribe(self, pattern: str) -> None:
        self.did.append(pattern)

    def publish(self, message: Message) -> int:
        self.did.append(message)
        return 1

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[Happening]:
        if not self.happens:
            self._clock.now_s += longest_s
        happened = list(self.happens)
        self.happens.clear()
        return happened

    def close(self) -> None:
        self.did.append("close")


class CountingStore:
    """A store that counts its sweeps."""

    def __init__(self) -> None:
        self.sweeps: list[int] = []
        self.broken = False

    def keep(self, envelope: Envelope, data: bytes, received_s: int) -> bool:
        return True

    def kept(self, owner: str | None = None) -> Iterator[Kept]:
        yield from ()

    def expire(self, now_s: int) -> int:
        if self.broken:
            raise Unavailable("the disk is gone")
        self.sweeps.append(now_s)
        return 1


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def wall() -> FakeClock:
    return FakeClock(1.8e9)


@pytest.fixture
def broker(clock: FakeClock) -> FakeBroker:
    return FakeBroker(clock)


@pytest.fixture
def server(
    broker: FakeBroker, receiver: Receiver, store: FileStore, clock: FakeClock, wall: FakeClock
) -> Server:
    retention = Retention(store, wall, clock)
    return Server(broker, receiver, retention, service=Service({}, clock), monotonic_s=clock)


def test_it_subscribes_anew_on_each_connection(server: Server, broker: FakeBroker) -> None:
    for _ in range(2):
        server.turn(0.1)
        broker.happens.append(Connected(Limits(), "5"))
        server.turn(0.1)
        broker.happens.append(Lost("gone"))
        server.turn(0.1)
        server.turn(60)

    assert broker.did[:4] == [
        "connect",
        "earmark/v1/clips/+/+/+",
        "connect",
        "earmark/v1/clips/+/+/+",
    ]


def test_it_answers_a_clip_that_it_has_kept(
    server: Server, broker: FakeBroker, household: "Household"
) -> None:
    header = household.header(1)
    data = household.seal(header)
    server.turn(0.1)
    broker.happens += [
        Connected(Limits(), "5"),
        Message(f"earmark/v1/clips/ada/hall/{header.clip}", data),
        Message("earmark/v1/clips/nonsense", b""),
        Delivered(1),
    ]

    server.turn(0.1)

    assert broker.did[2:] == [
        Message(f"earmark/v1/ack/hall/{header.clip}", hashlib.sha256(data).hexdigest().encode(), 1)
    ]


def test_a_loss_is_said_once_and_the_wait_grows(
    server: Server, broker: FakeBroker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(12):
        broker.happens.append(Lost("connection refused"))
        server.turn(60)
    began_s, tries = clock.now_s, len(broker.did)
    server.turn(60)
    server.turn(60)

    assert caplog.text.count("no connection to the broker") == 1
    assert len(broker.did) == tries + 1
    assert clock.now_s - began_s >= 15


def test_a_denial_is_said(
    server: Server, broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.happens.append(Denied("Not authorized"))

    server.turn(0.1)

    assert "hear no clips: Not authorized" in caplog.text


def test_a_stop_ends_it(server: Server, broker: FakeBroker) -> None:
    stop = Stop()
    stop.ask()

    server.run(stop)

    assert broker.did == ["close"]


def test_an_edited_roster_counts_at_once_and_a_damaged_one_does_not(
    household: "Household", caplog: pytest.LogCaptureFixture
) -> None:
    fresh = FreshRoster(household.home)
    assert set(fresh().active_owners()) == {"ada", "bob"}

    household.home.change_roster(lambda roster: roster.without_owner("bob"))
    assert set(fresh().active_owners()) == {"ada"}

    (household.home.path / "roster.json").write_text("damaged", "utf-8")
    assert set(fresh().active_owners()) == {"ada"}
    assert "stays in force" in caplog.text

    with pytest.raises(ConfigError):
        FreshRoster(household.home)


def test_a_home_without_a_roster_knows_nobody(household: "Household") -> None:
    (household.home.path / "roster.json").unlink()

    assert FreshRoster(household.home)().devices == ()


def test_retention_sweeps_after_each_steady_hour(clock: FakeClock, wall: FakeClock) -> None:
    store = CountingStore()
    retention = Retention(store, wall, clock)
    for _ in range(8):
        clock.now_s += 1200
        wall.now_s += 1200
        retention.look()

    assert store.sweeps == [1_800_003_600, 1_800_007_200]


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0, 3e8])
def test_a_clock_that_jumps_puts_retention_off(
    clock: FakeClock, wall: FakeClock, jump_s: float
) -> None:
    store = CountingStore()
    retention = Retention(store, wall, clock)
    clock.now_s += 3599
    wall.now_s += 3599 + jump_s
    retention.look()
    clock.now_s += 3599
    wall.now_s += 3599
    retention.look()

    assert store.sweeps == []

    clock.now_s += 2
    wall.now_s += 2
    assert retention.look() == 1


def test_a_sweep_that_fails_stops_nothing(
    broker: FakeBroker,
    receiver: Receiver,
    clock: FakeClock,
    wall: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = CountingStore()
    server = Server(broker, receiver, Retention(store, wall, clock), monotonic_s=clock)
    store.broken = True
    clock.now_s += 3600
    wall.now_s += 3600

    server.turn(0.1)
    assert "retention: the disk is gone" in caplog.text

    store.broken = False
    caplog.set_level("INFO")
    clock.now_s += 3600
    wall.now_s += 3600
    server.turn(0.1)
    assert "erased 1 clips" in caplog.text


def test_the_head_is_published_when_it_moves_and_tombstones_go_to_devices(
    holdings: Holdings, broker: FakeBroker, receiver: Receiver, store: FileStore, clock: FakeClock
) -> None:
    server = Server(
        broker,
        receiver,
        Retention(store, clock, clock),
        herald=Herald(holdings),
        monotonic_s=clock,
    )
    broker.happens.append(Connected(Limits(), "5"))
    for _ in range(2):
        server.turn(0.1)
    holdings.log.append(Entry(owner="ada", op="list", outcome="done"))
    holdings.gone.append(Gone("hall", "00000000-0000-4000-8000-000000000000", "1" * 64))
    server.turn(0.1)

    said = [one for one in broker.did if isinstance(one, Message)]
    heads = [one for one in said if one.topic == "earmark/v1/status/archive"]
    assert all(one.retain for one in heads)
    key = holdings.key.public_key()
    assert [receipt.parse_head(one.payload, key).n for one in heads] == [0, 1]
    (stone,) = [one for one in said if one not in heads]
    assert stone.topic == "earmark/v1/ack/hall/00000000-0000-4000-8000-000000000000"
    assert stone.payload == b"refused:erased:" + b"1" * 64


def test_what_owners_chose_is_said_on_each_connection_and_when_it_changes(
    holdings: Holdings, broker: FakeBroker, receiver: Receiver, store: FileStore, clock: FakeClock
) -> None:
    retention = Retention(store, clock, clock)
    server = Server(broker, receiver, retention, herald=Herald(holdings), monotonic_s=clock)

    def said() -> list[Message]:
        server.turn(0.1)
        found = [one for one in broker.did if isinstance(one, Message)]
        broker.did.clear()
        return [one for one in found if one.topic != Herald.topic]

    store.orders.set_retention("ada", 7)
    broker.happens.append(Connected(Limits(), "5"))
    first, nothing = said(), said()
    store.orders.set_retention("ada", 2)
    for text in ('{"a":1}', '{"a":2}'):
        store.orders.carry({"hall": text})
    second = said()
    broker.happens += [Lost("gone"), Connected(Limits(), "5")]
    again = said()

    assert nothing == []
    assert [one.topic for one in first] == ["earmark/v1/retention/ada"]
    assert all(one.retain and one.qos == 1 for one in first + second)
    assert {one.topic: one.payload for one in second} == {one.topic: one.payload for one in again}
    told = {one.topic: one.payload for one in second}
    assert told["earmark/v1/keys/hall"] == b'[{"a":1},{"a":2}]'
    public = holdings.key.public_key()

    def verify(signature: bytes, data: bytes) -> bool:
        public.verify(signature, data)
        return True

    assert terms.parse(told["earmark/v1/retention/ada"], verify) == terms.Term(
        owner="ada", days=2, n=2
    )


def test_only_so_many_changes_of_keys_are_carried(store: FileStore) -> None:
    for number in range(40):
        store.orders.carry({"hall": str(number), "kitchen": "x"})

    assert store.orders.carried()["hall"] == [str(number) for number in range(24, 40)]


@pytest.mark.parametrize("known", [True, False])
def test_a_head_on_the_broker_that_the_log_does_not_hold_is_noticed(
    holdings: Holdings,
    caplog: pytest.LogCaptureFixture,
    *,
    known: bool,
) -> None:
    herald = Herald(holdings)
    end = holdings.log.append(Entry(owner="ada", op="list", outcome="done"))
    kept = receipt.SignedHead(
        n=end.n if known else end.n + 5, hash=end.hash, t=holdings.now(), archive=holdings.name
    )
    payload = json.dumps(receipt.signed(kept, holdings.key)).encode()

    for data in (b"noise", payload):
        Herald(holdings).heard(Message(Herald.topic, data, retain=False))
    herald.heard(Message(Herald.topic, payload, retain=True))
    herald.heard(Message(Herald.topic, payload, retain=True))

    assert ("does not hold the head" in caplog.text) is not known
    assert holdings.log.head().n == (1 if known else 3)
