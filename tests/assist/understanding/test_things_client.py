from collections.abc import Sequence

import pytest

from listener.assist.understanding.home_actions import ThingMessage
from listener.assist.understanding.things_client import ThingsClient
from listener.config import BrokerSettings
from listener.errors import Unavailable
from listener.mqtt.client import (
    BrokerEvent,
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    Message,
    RejectedEvent,
    Waitable,
)

CONNECTED = ConnectedEvent(BrokerLimits(), "5")
LOST = ConnectionLostEvent("no answer")


class ScriptedBroker:
    """Broker whose events are given, one list for each ``poll``; then time passes."""

    def __init__(self, *events: list[BrokerEvent]) -> None:
        self.events = list(events)
        self.now_s = 0.0
        self.connects = 0
        self.published: list[Message] = []
        self.is_closed = False

    def connect(self) -> None:
        self.connects += 1

    def subscribe(self, pattern: str) -> None:
        raise AssertionError(pattern)

    def publish(self, message: Message) -> int:
        self.published.append(message)
        return len(self.published)

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        if self.events:
            return self.events.pop(0)
        self.now_s += longest_s
        return []

    def close(self) -> None:
        self.is_closed = True


MESSAGES = (ThingMessage("a", "ON"), ThingMessage("b", "OFF"))


def client(broker: ScriptedBroker) -> ThingsClient:
    return ThingsClient(BrokerSettings(), lambda _settings, _name: broker, lambda: broker.now_s)


def test_messages_are_published_once_and_confirmed() -> None:
    broker = ScriptedBroker([CONNECTED], [DeliveredEvent(2)], [DeliveredEvent(1)])

    assert client(broker).publish(MESSAGES)
    assert [(one.topic, one.payload, one.qos, one.retain) for one in broker.published] == [
        ("a", b"ON", 1, False),
        ("b", b"OFF", 1, False),
    ]
    assert broker.is_closed


def test_other_version_is_tried() -> None:
    broker = ScriptedBroker([LOST], [CONNECTED], [DeliveredEvent(1), DeliveredEvent(2)])

    assert client(broker).publish(MESSAGES)
    assert broker.connects == 2


@pytest.mark.parametrize(
    "events",
    [
        [],
        [[DeliveredEvent(1)]],
        [[DeliveredEvent(1), RejectedEvent(2, 0x87, "not authorised")]],
        [[LOST]],
    ],
)
def test_what_is_not_confirmed_is_reported_and_not_published_again(
    events: list[list[BrokerEvent]],
) -> None:
    broker = ScriptedBroker([CONNECTED], *events)

    assert not client(broker).publish(MESSAGES)
    assert len(broker.published) == 2
    assert broker.is_closed


def test_unreachable_broker_gets_nothing() -> None:
    broker = ScriptedBroker([LOST])

    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1883"):
        client(broker).publish(MESSAGES)

    assert broker.published == []
    assert broker.is_closed
