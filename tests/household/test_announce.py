from collections import deque
from collections.abc import Sequence

import pytest

from listener.errors import Unavailable
from listener.household import discovery
from listener.household.announce import announce
from listener.household.register import Speaker
from listener.mqtt.client import (
    BrokerEvent,
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    DeniedEvent,
    Message,
    RejectedEvent,
    Waitable,
)

NODES = {
    f"earmark-{name}": discovery.discovery_message(Speaker(name=name), "a" * 24)
    for name in ("hall", "kitchen")
}


class KeepingBroker:
    """A broker in memory that keeps retained messages; time passes while it is polled."""

    def __init__(self, kept: Sequence[Message] = (), welcome: BrokerEvent | None = None) -> None:
        self.kept = {message.topic: message for message in kept}
        self.published: list[Message] = []
        self.closed = False
        self.answer: BrokerEvent | None = None
        self.now_s = 0.0
        self._welcome = welcome or ConnectedEvent(BrokerLimits(), "5")
        self._happens: deque[BrokerEvent] = deque()

    def connect(self) -> None:
        self._happens.append(self._welcome)

    def subscribe(self, pattern: str) -> None:
        assert pattern == "homeassistant/device/+/config"
        self._happens.extend(self.kept.values())

    def publish(self, message: Message) -> int:
        self.published.append(message)
        ticket = len(self.published)
        self._happens.append(self.answer or DeliveredEvent(ticket))
        self.kept[message.topic] = message
        if not message.payload:
            del self.kept[message.topic]
        return ticket

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        assert not also
        happened = list(self._happens)
        self._happens.clear()
        if not happened:
            self.now_s += longest_s
        return happened

    def close(self) -> None:
        self.closed = True

    def clock(self) -> float:
        return self.now_s


def test_speakers_are_shown_once_and_nothing_is_said_twice() -> None:
    broker = KeepingBroker()

    first = announce(broker, NODES, broker.clock)
    second = announce(broker, NODES, broker.clock)

    assert (first, second) == ((2, 0), (0, 0))
    assert broker.published == list(NODES.values())
    assert broker.closed


def test_what_is_gone_is_taken_back_and_others_devices_are_left_alone() -> None:
    theirs = Message("homeassistant/device/lamp/config", b"{}", retain=True)
    broker = KeepingBroker([*NODES.values(), theirs])

    done = announce(broker, {"earmark-hall": NODES["earmark-hall"]}, broker.clock)

    assert done == (0, 1)
    assert set(broker.kept) == {NODES["earmark-hall"].topic, theirs.topic}


def test_many_are_shown_within_what_a_connection_may_have_in_flight() -> None:
    broker = KeepingBroker()
    many = {
        f"earmark-{number}": discovery.discovery_message(Speaker(name=str(number)), "a" * 24)
        for number in range(100)
    }

    assert announce(broker, many, broker.clock) == (100, 0)


@pytest.mark.parametrize(
    ("happening", "why"),
    [
        (ConnectionLostEvent("no answer"), "no connection to the broker: no answer"),
        (DeniedEvent("Not authorized"), "does not let us"),
    ],
)
def test_without_a_broker_it_says_so(happening: BrokerEvent, why: str) -> None:
    broker = KeepingBroker(welcome=happening)

    with pytest.raises(Unavailable, match=why):
        announce(broker, NODES, broker.clock)
    assert broker.closed


def test_a_broker_that_refuses_or_says_nothing_is_given_up() -> None:
    refusing, mute, silent = (
        KeepingBroker(),
        KeepingBroker(),
        KeepingBroker(welcome=DeliveredEvent(9)),
    )
    refusing.answer = RejectedEvent(1, 0x87, "Not authorized")
    mute.answer = DeliveredEvent(99)

    with pytest.raises(Unavailable, match="does not let us: Not authorized"):
        announce(refusing, NODES, refusing.clock)
    with pytest.raises(Unavailable, match="takes nothing"):
        announce(mute, NODES, mute.clock)
    with pytest.raises(Unavailable, match="does not answer"):
        announce(silent, NODES, silent.clock)
