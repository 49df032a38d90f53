"""The archive's turns."""

import hashlib
from typing import TYPE_CHECKING

import pytest

from listener.archive.receive import Receiver
from listener.archive.retention import ExpirySweep
from listener.archive.serve import ArchiveService
from listener.archive.store import FileStore
from listener.mqtt.client import (
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    DeniedEvent,
    Message,
)
from listener.system.systemd import Notifier, StopSignal
from tests.archive.shelf import CountingStore
from tests.archive.wire import FakeBroker

if TYPE_CHECKING:
    from tests.archive.conftest import FakeClock
    from tests.conftest import Household


@pytest.fixture
def server(
    broker: FakeBroker, receiver: Receiver, store: FileStore, clock: "FakeClock", wall: "FakeClock"
) -> ArchiveService:
    retention = ExpirySweep(store, lambda: 0, wall, clock)
    return ArchiveService(
        broker, receiver, retention, service=Notifier({}, clock), monotonic_s=clock
    )


def test_it_subscribes_anew_on_each_connection(server: ArchiveService, broker: FakeBroker) -> None:
    for _ in range(2):
        server.turn(0.1)
        broker.happens.append(ConnectedEvent(BrokerLimits(), "5"))
        server.turn(0.1)
        broker.happens.append(ConnectionLostEvent("gone"))
        server.turn(0.1)
        server.turn(60)

    assert broker.did[:4] == [
        "connect",
        "earmark/v1/clips/+/+/+",
        "connect",
        "earmark/v1/clips/+/+/+",
    ]


def test_it_answers_a_clip_that_it_has_kept(
    server: ArchiveService, broker: FakeBroker, household: "Household"
) -> None:
    header = household.header(1)
    data = household.seal(header)
    server.turn(0.1)
    broker.happens += [
        ConnectedEvent(BrokerLimits(), "5"),
        Message(f"earmark/v1/clips/ada/hall/{header.clip}", data),
        Message("earmark/v1/clips/nonsense", b""),
        DeliveredEvent(1),
    ]

    server.turn(0.1)

    assert broker.did[2:] == [
        Message(f"earmark/v1/ack/hall/{header.clip}", hashlib.sha256(data).hexdigest().encode(), 1)
    ]


def test_a_loss_is_said_once_and_the_wait_grows(
    server: ArchiveService, broker: FakeBroker, clock: "FakeClock", caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(12):
        broker.happens.append(ConnectionLostEvent("connection refused"))
        server.turn(60)
    began_s, tries = clock.now_s, len(broker.did)
    server.turn(60)
    server.turn(60)

    assert caplog.text.count("no connection to the broker") == 1
    assert len(broker.did) == tries + 1
    assert clock.now_s - began_s >= 15


def test_a_denial_is_said(
    server: ArchiveService, broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.happens.append(DeniedEvent("Not authorized"))

    server.turn(0.1)

    assert "hear no clips: Not authorized" in caplog.text


def test_a_stop_ends_it(server: ArchiveService, broker: FakeBroker) -> None:
    stop = StopSignal()
    stop.request()

    server.run(stop)

    assert broker.did == ["close"]


def test_a_sweep_that_fails_stops_nothing(
    broker: FakeBroker,
    receiver: Receiver,
    clock: "FakeClock",
    wall: "FakeClock",
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = CountingStore()
    server = ArchiveService(
        broker, receiver, ExpirySweep(store, lambda: 0, wall, clock), monotonic_s=clock
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
    assert "erased 1 clips" in caplog.text
