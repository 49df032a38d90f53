from collections.abc import Sequence
from pathlib import Path

import pytest

from listener.mqtt.client import (
    BrokerEvent,
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    Message,
)
from listener.mqtt.connection_record import (
    ConnectionRecord,
    RecordedBroker,
    read_record,
    record_path,
)

MESSAGE = Message("a/b", b"payload")


class ScriptedBroker:
    """A broker whose events are given; it notes what it is asked."""

    def __init__(self, *events: BrokerEvent) -> None:
        self._events = list(events)
        self.asked: list[object] = []

    def connect(self) -> None:
        self.asked.append("connect")

    def subscribe(self, pattern: str) -> None:
        self.asked.append(pattern)

    def publish(self, message: Message) -> int:
        self.asked.append(message)
        return 7

    def poll(self, longest_s: float, also: Sequence[object] = ()) -> list[BrokerEvent]:
        del longest_s, also
        return [self._events.pop(0)] if self._events else []

    def close(self) -> None:
        self.asked.append("close")


def test_each_change_is_recorded(tmp_path: Path) -> None:
    events = (
        ConnectedEvent(BrokerLimits(), "3.1.1"),
        MESSAGE,
        ConnectionLostEvent("it broke", hint="wait"),
    )
    path = record_path(tmp_path, "send")
    path.write_bytes(b'{"address":"old:1","connected":true}')
    broker = RecordedBroker(ScriptedBroker(*events), path, "here:1883")
    found = []

    broker.connect()
    found.append(read_record(path))
    for event in events:
        assert broker.poll(0.0) == [event]
        found.append(read_record(path))

    connected = ConnectionRecord(address="here:1883", connected=True, protocol="3.1.1")
    assert found == [
        ConnectionRecord(address="here:1883", connected=False),
        connected,
        connected,
        ConnectionRecord(address="here:1883", connected=False, reason="it broke", hint="wait"),
    ]


def test_state_that_does_not_change_is_written_once(tmp_path: Path) -> None:
    lost = ConnectionLostEvent("it broke")
    path = record_path(tmp_path, "send")
    broker = RecordedBroker(ScriptedBroker(lost, lost), path, "here:1883")

    broker.poll(0.0)
    path.unlink()
    broker.connect()
    broker.poll(0.0)

    assert not path.exists()


def test_calls_reach_the_broker(tmp_path: Path) -> None:
    inner = ScriptedBroker()
    broker = RecordedBroker(inner, record_path(tmp_path, "send"), "here:1883")

    broker.connect()
    broker.subscribe("a/#")
    ticket = broker.publish(MESSAGE)
    broker.close()

    assert ticket == 7
    assert inner.asked == ["connect", "a/#", MESSAGE, "close"]


def test_folder_that_cannot_be_written_loses_the_record_alone(tmp_path: Path) -> None:
    connected = ConnectedEvent(BrokerLimits(), "5")
    broker = RecordedBroker(ScriptedBroker(connected), tmp_path / "none" / "x.json", "here:1883")

    broker.connect()

    assert broker.poll(0.0) == [connected]


@pytest.mark.parametrize("data", [b"", b"[]", b'{"connected": 1}', b"\xff" * 5000, b"[" * 3000])
def test_damaged_record_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "send.connection.json").write_bytes(data)

    assert read_record(record_path(tmp_path, "send")) is None
