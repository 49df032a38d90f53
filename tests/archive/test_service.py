"""The archive's loop, its expiry sweeps, and its reloading roster."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from listener.archive.archive_clock import SWEEP_PAUSE_S
from listener.archive.intake_turns import PAUSE_S, IntakeTurns
from listener.archive.receiver import Receiver
from listener.archive.retained_clips import RetainedClips
from listener.archive.service import ArchiveService, ExpirySweep
from listener.archive.store import FileStore
from listener.errors import ConfigError
from listener.mqtt.client import (
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    DeniedEvent,
    Message,
    RejectedEvent,
)
from listener.mqtt.connections import BrokerClients, BrokerConnection
from listener.owner.roster import Roster
from listener.storage.home import Home
from listener.storage.reloading_roster import ReloadingRoster
from listener.system.systemd import Notifier, StopSignal
from tests.archive.computer import make_clock
from tests.archive.fake_broker import FakeBroker
from tests.archive.stored_clips import T_S, CountingStore, store_clip, stored_path
from tests.archive.tampering import delete_rows, update_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.archive.conftest import FakeClock
    from tests.conftest import Household


@pytest.fixture
def server(
    broker: FakeBroker, receiver: Receiver, store: FileStore, clock: "FakeClock", wall: "FakeClock"
) -> ArchiveService:
    expiry = ExpirySweep(store, lambda: 0, make_clock(wall, clock))
    return ArchiveService(broker, receiver, expiry, service=Notifier({}, clock), monotonic_s=clock)


def test_service_subscribes_on_each_connection(server: ArchiveService, broker: FakeBroker) -> None:
    for _ in range(2):
        server.turn(0.1)
        broker.events.append(ConnectedEvent(BrokerLimits(), "5"))
        server.turn(0.1)
        broker.events.append(ConnectionLostEvent("gone"))
        server.turn(0.1)
        server.turn(60)

    assert broker.calls[:4] == [
        "connect",
        "earmark/v1/clips/+/+/+",
        "connect",
        "earmark/v1/clips/+/+/+",
    ]


def test_service_acknowledges_a_stored_clip(
    server: ArchiveService, broker: FakeBroker, household: "Household"
) -> None:
    header = household.header(1)
    data = household.seal(header)
    server.turn(0.1)
    broker.events += [
        ConnectedEvent(BrokerLimits(), "5"),
        Message(f"earmark/v1/clips/ada/hall/{header.clip}", data),
        Message("earmark/v1/clips/nonsense", b""),
        DeliveredEvent(1),
    ]

    server.turn(0.1)

    assert broker.calls[2:] == [
        Message(f"earmark/v1/ack/hall/{header.clip}", hashlib.sha256(data).hexdigest().encode(), 1)
    ]


def test_retained_clip_is_removed_and_stored(
    server: ArchiveService, broker: FakeBroker, household: "Household", clock: "FakeClock"
) -> None:
    header = household.header(1)
    data = household.seal(header)
    topic = f"earmark/v1/clips/ada/hall/{header.clip}"
    server.turn(0.1)
    broker.events += [
        ConnectedEvent(BrokerLimits(), "5"),
        Message(topic, data, 1, retain=True),
        Message(topic, b"", 1, retain=True),
    ]

    server.turn(0.1)
    clock.now_s += 60
    server.turn(0.1)

    assert broker.calls[2:] == [
        Message(topic, b"", 1, retain=True),
        Message(f"earmark/v1/ack/hall/{header.clip}", hashlib.sha256(data).hexdigest().encode(), 1),
        "earmark/v1/clips/+/+/+",
    ]


def test_lost_connection_is_logged_once_with_growing_backoff(
    server: ArchiveService, broker: FakeBroker, clock: "FakeClock", caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(12):
        broker.events.append(ConnectionLostEvent("connection refused"))
        server.turn(60)
    began_s, tries = clock.now_s, len(broker.calls)
    server.turn(60)
    server.turn(60)

    assert caplog.text.count("no connection to the broker") == 1
    assert len(broker.calls) == tries + 1
    assert clock.now_s - began_s >= 15


def test_denied_subscription_is_logged(
    server: ArchiveService, broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.events.append(DeniedEvent("Not authorized"))

    server.turn(0.1)

    assert "denied the subscription to clips: Not authorized" in caplog.text


def test_stop_request_ends_the_loop(server: ArchiveService, broker: FakeBroker) -> None:
    stop = StopSignal()
    stop.request()

    server.run(stop)

    assert broker.calls == ["close"]


def test_failed_sweep_does_not_stop_the_service(
    broker: FakeBroker,
    receiver: Receiver,
    clock: "FakeClock",
    wall: "FakeClock",
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = CountingStore()
    server = ArchiveService(
        broker, receiver, ExpirySweep(store, lambda: 0, make_clock(wall, clock)), monotonic_s=clock
    )
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
    assert "erased 1 clip" in caplog.text


SWAP_OWNERS = partial(
    update_rows, assignments="owner = case owner when 'ada' then 'bob' else 'ada' end"
)


def test_sweep_runs_after_each_steady_hour(clock: "FakeClock", wall: "FakeClock") -> None:
    store = CountingStore()
    expiry = ExpirySweep(store, lambda: 0, make_clock(wall, clock))
    began_s = int(wall.now_s)
    for _ in range(8):
        clock.now_s += 1200
        wall.now_s += 1200
        expiry.run_if_due()

    assert store.sweeps == [began_s + 3600, began_s + 7200]


@pytest.mark.parametrize("jump_s", [-3e8, -3600.0, 3600.0, 3e8])
def test_clock_jump_neither_hastens_nor_postpones_the_sweep(
    clock: "FakeClock", wall: "FakeClock", jump_s: float
) -> None:
    store = CountingStore()
    expiry = ExpirySweep(store, lambda: 0, make_clock(wall, clock))
    began_s = int(wall.now_s)
    clock.now_s += 3599
    wall.now_s += 3599 + jump_s
    assert expiry.run_if_due() == 0

    clock.now_s += 10
    wall.now_s += 10
    assert expiry.run_if_due() == 1

    assert store.sweeps == [began_s + 3609]


@pytest.mark.parametrize("tamper", [delete_rows, SWAP_OWNERS])
def test_clip_with_lost_row_is_restored_and_expires_in_time(
    store: FileStore,
    receiver: Receiver,
    household: "Household",
    folder: Path,
    clock: "FakeClock",
    tamper: "Callable[[FileStore], None]",
) -> None:
    wall = type(clock)(T_S)
    expiry = ExpirySweep(store, partial(store.repair, receiver.verify), make_clock(wall, clock))
    header = store_clip(store, household, ttl_s=2 * 3600)
    tamper(store)
    listed = []

    for _ in range(4):
        clock.now_s += SWEEP_PAUSE_S
        wall.now_s += SWEEP_PAUSE_S
        expiry.run_if_due()
        listed.append([entry.clip for entry in store.clips("ada")])

    assert listed[0] == [header.clip]
    assert listed[-1] == []
    assert not stored_path(folder, header).exists()


def test_changed_roster_is_reloaded_unless_damaged(
    household: "Household", caplog: pytest.LogCaptureFixture
) -> None:
    roster = ReloadingRoster(household.home)
    assert set(roster().active_owners()) == {"ada", "bob"}

    household.home.change_roster(lambda old: old.without_owner("bob"))
    assert set(roster().active_owners()) == {"ada"}

    (household.home.path / "roster.json").write_text("damaged", "utf-8")
    assert set(roster().active_owners()) == {"ada"}
    assert "stays in force" in caplog.text

    with pytest.raises(ConfigError):
        ReloadingRoster(household.home)


def test_thread_never_gets_the_previous_roster_while_another_reloads_it(
    household: "Household", monkeypatch: pytest.MonkeyPatch
) -> None:
    roster = ReloadingRoster(household.home)
    household.home.change_roster(lambda old: old.without_owner("bob"))
    is_reading, may_read = threading.Event(), threading.Event()
    read = type(household.home).roster

    def read_slowly(home: Home) -> Roster:
        is_reading.set()
        assert may_read.wait(60)
        return read(home)

    monkeypatch.setattr(type(household.home), "roster", read_slowly)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(roster)
        assert is_reading.wait(60)
        second = pool.submit(roster)
        wait([second], timeout=0.2)
        may_read.set()

        assert set(first.result(60).active_owners()) == {"ada"}
        assert set(second.result(60).active_owners()) == {"ada"}


def test_home_without_a_roster_has_no_devices(household: "Household") -> None:
    (household.home.path / "roster.json").unlink()

    assert ReloadingRoster(household.home)().devices == ()


def test_first_rejected_message_of_a_connection_is_logged(
    server: ArchiveService, broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        broker.events.append(ConnectedEvent(BrokerLimits(), "5"))
        broker.events += [RejectedEvent(1, 0x87, "Not authorized") for _ in range(5)]
        server.turn(0.1)

    assert caplog.text.count("rejected a message of the archive: Not authorized") == 2
    assert "earmark household init" in caplog.text


class ReadyBroker(FakeBroker):
    """A client of one of several brokers, whose events are there at once."""

    def accept(self) -> None:
        self.events.append(ConnectedEvent(BrokerLimits(), "5"))

    def published(self) -> list[Message]:
        return [call for call in self.calls if isinstance(call, Message)]


@pytest.fixture
def two(clock: "FakeClock") -> tuple[ReadyBroker, ReadyBroker]:
    return ReadyBroker(clock), ReadyBroker(clock)


def serve_two(
    two: tuple[ReadyBroker, ReadyBroker],
    receiver: Receiver,
    store: FileStore,
    clock: "FakeClock",
    turns: IntakeTurns[BrokerConnection] | None = None,
) -> ArchiveService:
    made = ArchiveService(
        BrokerClients(two, lambda _longest_s, _also: None),
        receiver,
        ExpirySweep(store, lambda: 0, make_clock(clock, clock)),
        retained=[RetainedClips(clock), RetainedClips(clock)],
        turns=turns,
        monotonic_s=clock,
    )
    made.turn(0.0)
    for broker in two:
        broker.accept()
    made.turn(0.0)
    return made


def test_clip_is_answered_at_the_broker_that_delivered_it(
    two: tuple[ReadyBroker, ReadyBroker],
    receiver: Receiver,
    store: FileStore,
    clock: "FakeClock",
    household: "Household",
) -> None:
    server = serve_two(two, receiver, store, clock)
    header = household.header(1)
    data = household.seal(header)
    clip = Message(f"earmark/v1/clips/ada/hall/{header.clip}", data)
    for broker, stored, repeated in ((two[0], 1, 0), (two[1], 1, 1)):
        broker.events.append(clip)
        server.turn(0.0)
        (answer,) = broker.published()
        assert answer.payload == hashlib.sha256(data).hexdigest().encode()
        assert (receiver.stored, receiver.repeated) == (stored, repeated)


def test_lost_broker_keeps_the_archive_from_no_other(
    two: tuple[ReadyBroker, ReadyBroker],
    receiver: Receiver,
    store: FileStore,
    clock: "FakeClock",
    household: "Household",
) -> None:
    server = serve_two(two, receiver, store, clock)
    two[0].events.append(ConnectionLostEvent("gone"))
    header = household.header(1)
    clip = Message(f"earmark/v1/clips/ada/hall/{header.clip}", household.seal(header))
    two[1].events.append(clip)
    server.turn(0.0)

    assert len(two[1].published()) == 1
    clock.now_s += 1
    server.turn(0.0)
    assert [broker.calls.count("connect") for broker in two] == [2, 1]


def test_clip_of_an_archive_that_hangs_is_stored_after_a_pause(
    two: tuple[ReadyBroker, ReadyBroker],
    receiver: Receiver,
    store: FileStore,
    clock: "FakeClock",
    household: "Household",
) -> None:
    turns: IntakeTurns[BrokerConnection] = IntakeTurns(1, 2, clock)
    server = serve_two(two, receiver, store, clock, turns)
    assert all("earmark/v1/ack/+/+" in broker.calls for broker in two)
    clips = []
    for seq in range(1, 9):
        header = household.header(seq)
        data = household.seal(header)
        clips.append((header.clip, data))
        two[0].events.append(Message(f"earmark/v1/clips/ada/hall/{header.clip}", data))
    server.turn(0.0)
    own = receiver.stored
    assert 0 < own < len(clips)
    answered = {message.topic.rpartition("/")[2] for message in two[0].published()}
    others = [(clip, data) for clip, data in clips if clip not in answered]
    clip, data = others[0]
    two[0].events.append(
        Message(f"earmark/v1/ack/hall/{clip}", hashlib.sha256(data).hexdigest().encode())
    )
    server.turn(0.0)

    clock.now_s += PAUSE_S
    server.turn(0.0)

    assert receiver.stored == len(clips) - 1
    assert len(two[0].published()) == len(clips) - 1
