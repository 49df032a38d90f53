"""Main loop of send: connection, clips, events and status."""

import hashlib
import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from listener.ipc import notices
from listener.ipc.notice_socket import NoticeSender, NoticeSocket
from listener.mqtt.client import (
    NO_SUBSCRIBERS,
    SESSION_TAKEN_OVER,
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    DeniedEvent,
    Message,
    RejectedEvent,
)
from listener.send.delivery import ClipDelivery
from listener.send.loop import MOST_SHORT_CONNECTIONS, STEADY_S, Sender
from listener.spool.queue import Spool
from listener.system.systemd import Notifier, StopSignal

if TYPE_CHECKING:
    from tests.send.conftest import FakeBroker, FakeClock


@pytest.fixture
def sender(
    spool: Spool, broker: "FakeBroker", clock: "FakeClock", notice_socket: NoticeSocket
) -> Sender:
    return Sender(
        ClipDelivery(spool, "hall", 5.0),
        broker,
        notice_socket=notice_socket,
        service=Notifier({}, clock),
        monotonic_s=clock,
    )


def put(spool: Spool, seq: int) -> str:
    clip = str(uuid.UUID(int=seq))
    spool.put(clip, "ada", seq, b"sealed")
    return clip


def connect(sender: Sender, broker: "FakeBroker", limits: BrokerLimits | None = None) -> None:
    """Accept the connection and acknowledge the first status."""
    sender.turn(0.1)
    broker.happens.append(ConnectedEvent(limits or BrokerLimits(), "5"))
    sender.turn(0.1)
    broker.happens.append(DeliveredEvent(len(broker.published)))
    sender.turn(0.1)


def states(broker: "FakeBroker") -> list[dict[str, object]]:
    return [json.loads(one.payload) for one in broker.published if "/status/" in one.topic]


def clips(broker: "FakeBroker") -> list[Message]:
    return [one for one in broker.published if "/clips/" in one.topic]


def test_connecting_subscribes_and_publishes_the_status(
    sender: Sender, broker: "FakeBroker"
) -> None:
    connect(sender, broker)

    assert broker.subscribed == ["earmark/v1/ack/hall/+"]
    assert broker.published[0].retain
    assert states(broker)[0]["state"] == "online"
    assert states(broker)[0]["waiting"] == 0


def test_clips_wait_until_the_connection_is_proven(
    sender: Sender, broker: "FakeBroker", spool: Spool
) -> None:
    put(spool, 1)
    sender.turn(0.1)
    broker.happens.append(ConnectedEvent(BrokerLimits(), "5"))
    sender.turn(0.1)
    assert not clips(broker)

    broker.happens.append(DeliveredEvent(1))
    sender.turn(0.1)

    assert len(clips(broker)) == 1


def test_acknowledgement_of_another_device_is_ignored(
    sender: Sender, broker: "FakeBroker", spool: Spool
) -> None:
    clip = put(spool, 1)
    connect(sender, broker)
    payload = hashlib.sha256(b"sealed").hexdigest().encode()

    for topic in (f"earmark/v1/ack/kitchen/{clip}", "earmark/v1/ack", "x"):
        broker.happens.append(Message(topic, payload))
        sender.turn(0.1)
    assert len(spool.waiting()) == 1

    broker.happens.append(Message(f"earmark/v1/ack/hall/{clip}", payload))
    sender.turn(0.1)
    assert spool.waiting() == []


def test_reconnect_delay_grows_with_each_loss(
    sender: Sender, broker: "FakeBroker", clock: "FakeClock"
) -> None:
    for _ in range(12):
        broker.happens.append(ConnectionLostEvent("connection refused"))
        sender.turn(60)
    tried = broker.connects
    began_s = clock.now_s
    sender.turn(60)
    sender.turn(60)

    assert broker.connects == tried + 1
    assert 15 <= clock.now_s - began_s <= 90
    assert sender.lost_because == "connection refused"
    assert not sender.was_connected


def test_events_have_no_score_and_are_not_queued(
    sender: Sender, broker: "FakeBroker", notifier: NoticeSender
) -> None:
    notifier.send(notices.WakeNotice(word="alexa", score=0.9))
    sender.turn(0.1)
    connect(sender, broker)
    notifier.send(notices.NearMissNotice(word="alexa", score=0.3))
    notifier.send(notices.MuteNotice(state="hardware"))
    sender.turn(0.1)

    events = [one for one in broker.published if "/event/" in one.topic]
    assert [one.payload for one in events] == [
        b'{"event_type":"near_miss","word":"alexa"}',
        b'{"event_type":"mute","state":"hardware"}',
    ]
    assert not any(one.retain for one in events)
    assert states(broker)[-1]["mute"] == "hardware"
    assert states(broker)[-1]["events_missed"] == 1


def test_rejection_quarantines_and_denial_is_logged(
    sender: Sender, broker: "FakeBroker", spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    put(spool, 1)
    connect(sender, broker)
    broker.happens += [
        DeniedEvent("Not authorized"),
        DeliveredEvent(99, 0x10),
        RejectedEvent(len(broker.published), 0x95, "Packet too large"),
    ]

    sender.turn(0.1)

    assert spool.counts().quarantined == 1
    assert "denied the subscription to acknowledgements" in caplog.text


def test_spool_that_cannot_be_trimmed_is_logged(
    broker: "FakeBroker", clock: "FakeClock", tmp_path: Path, spool: Spool
) -> None:
    (tmp_path / "spool").write_text("in the way")
    sender = Sender(ClipDelivery(spool, "hall", 5.0), broker, monotonic_s=clock)

    sender.turn(0.1)

    assert broker.connects == 1


def test_stop_publishes_offline_and_disconnects(sender: Sender, broker: "FakeBroker") -> None:
    connect(sender, broker)
    stop = StopSignal()
    stop.request()
    broker.happens.append(DeliveredEvent(len(broker.published) + 1))

    sender.run(stop)

    assert states(broker)[-1] == {"state": "offline"}
    assert broker.closed


def test_disconnect_ends_without_an_acknowledgement(sender: Sender, broker: "FakeBroker") -> None:
    connect(sender, broker)

    sender.disconnect()

    assert broker.closed


def test_drain_ends_when_nothing_changes(
    sender: Sender, broker: "FakeBroker", spool: Spool
) -> None:
    put(spool, 1)

    assert not sender.drain(StopSignal(), 3.0)

    assert broker.closed
    assert len(spool.waiting()) == 1


def test_drain_of_an_empty_spool_needs_no_broker(sender: Sender, broker: "FakeBroker") -> None:
    assert sender.drain(StopSignal(), 3.0)

    assert broker.connects == 0


def test_steady_connection_resets_the_backoff(
    sender: Sender, broker: "FakeBroker", clock: "FakeClock"
) -> None:
    waits = []
    for held_s in (1.0, 1.0, 1.0, 1.0, 10.0):
        connect(sender, broker)
        clock.now_s += held_s
        broker.happens.append(ConnectionLostEvent("Session taken over", 0x8E))
        sender.turn(0)
        lost_s, tried = clock.now_s, broker.connects
        while broker.connects == tried:
            sender.turn(60)
        waits.append(broker.connected_s - lost_s)
        broker.happens.clear()

    assert waits[3] > 3 * waits[4]


def lose(sender: Sender, broker: "FakeBroker", code: int | None = None) -> None:
    broker.happens.append(ConnectionLostEvent("gone", code, "hub:8883", ""))
    sender.turn(0.1)


def test_status_without_subscribers_says_nothing_of_the_archive(
    sender: Sender, broker: "FakeBroker", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    sender.turn(0.1)
    broker.happens.append(ConnectedEvent(BrokerLimits(), "5"))
    sender.turn(0.1)

    broker.happens.append(DeliveredEvent(len(broker.published), NO_SUBSCRIBERS))
    sender.turn(0.1)

    assert "no subscribers" not in caplog.text


def test_clip_without_subscribers_names_the_archive(
    sender: Sender, broker: "FakeBroker", spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    connect(sender, broker)
    put(spool, 1)
    sender.turn(0.1)
    assert clips(broker)

    broker.happens.append(DeliveredEvent(len(broker.published), NO_SUBSCRIBERS))
    sender.turn(0.1)

    assert "the clip has no subscribers: the archive is not connected" in caplog.text


def test_second_speaker_of_the_same_name_is_reported(
    sender: Sender, broker: "FakeBroker", caplog: pytest.LogCaptureFixture
) -> None:
    connect(sender, broker)

    lose(sender, broker, SESSION_TAKEN_OVER)

    assert "no connection to the broker at hub:8883: gone" in caplog.text
    assert "another speaker connects as hall: give each its own device.name" in caplog.text
    assert "another speaker" in sender.lost_hint


def test_short_connections_without_a_reason_are_reported_as_well(
    sender: Sender, broker: "FakeBroker", clock: "FakeClock", caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(MOST_SHORT_CONNECTIONS):
        assert "no other speaker" not in caplog.text
        connect(sender, broker)
        lose(sender, broker)
        clock.now_s += 60

    assert "check that no other speaker has the name hall" in caplog.text


def test_long_connections_are_not_those_of_two_speakers(
    sender: Sender, broker: "FakeBroker", clock: "FakeClock", caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2 * MOST_SHORT_CONNECTIONS):
        connect(sender, broker)
        clock.now_s += STEADY_S
        lose(sender, broker)
        clock.now_s += 60

    assert "speaker" not in caplog.text
