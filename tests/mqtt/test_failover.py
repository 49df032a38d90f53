"""Change from one broker to the next, and back."""

from pathlib import Path

import pytest

from listener.config import BrokerSettings
from listener.mqtt.client import (
    BrokerEvent,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    Message,
)
from listener.mqtt.failover import (
    LONGEST_RETURN_S,
    RETURN_S,
    SILENT_S,
    FailoverBroker,
    failover_client,
)
from listener.mqtt.paho_client import PahoBroker
from tests.mqtt.fake_selectable_broker import FakeSelectableBroker
from tests.send.conftest import FakeClock

LOST = ConnectionLostEvent("refused")
CLIP = Message("a/b", b"payload")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def three(clock: FakeClock) -> list[FakeSelectableBroker]:
    return [FakeSelectableBroker(name, clock) for name in ("a:1", "b:1", "c:1")]


@pytest.fixture
def broker(three: list[FakeSelectableBroker], clock: FakeClock) -> FailoverBroker:
    return FailoverBroker(three, clock)


def connect_to(
    broker: FailoverBroker, three: list[FakeSelectableBroker], number: int
) -> list[BrokerEvent]:
    """Connect to one of the brokers; those before it fail."""
    events: list[BrokerEvent] = []
    for tried in range(number + 1):
        broker.connect()
        if tried == number:
            three[tried].accept()
        else:
            three[tried].events.append(LOST)
        events = broker.poll(0.0)
    return events


def attempts(one: FakeSelectableBroker) -> int:
    return one.calls.count("connect")


def test_next_broker_is_tried_after_each_failure(
    broker: FailoverBroker, three: list[FakeSelectableBroker]
) -> None:
    for _ in range(4):
        broker.connect()
        for one in three:
            if one.calls and one.calls[-1] == "connect":
                one.events.append(LOST)
                one.calls.append("failed")
        assert broker.poll(0.0) == [LOST]

    assert [attempts(one) for one in three] == [2, 1, 1]


def test_messages_go_to_the_broker_that_answers(
    broker: FailoverBroker, three: list[FakeSelectableBroker]
) -> None:
    (event,) = connect_to(broker, three, 1)

    broker.subscribe("x/#")
    broker.publish(CLIP)

    assert isinstance(event, ConnectedEvent)
    assert event.address == "b:1"
    assert three[1].calls == ["connect", "x/#", CLIP]
    assert three[2].calls == []


def test_client_returns_after_a_while(
    broker: FailoverBroker, three: list[FakeSelectableBroker], clock: FakeClock
) -> None:
    connect_to(broker, three, 1)
    clock.now_s += RETURN_S - 1
    assert broker.poll(0.0) == []
    assert attempts(three[0]) == 1
    clock.now_s += 1

    assert broker.poll(0.0) == []
    assert attempts(three[0]) == 2
    assert three[1].is_open, "the connection stays until the other one is there"
    three[0].accept()
    (event,) = broker.poll(0.0)

    assert isinstance(event, ConnectedEvent)
    assert event.address == "a:1"
    assert not three[1].is_open
    broker.publish(CLIP)
    assert three[0].calls[-1] == CLIP


def test_client_returns_only_when_nothing_is_under_way(
    broker: FailoverBroker, three: list[FakeSelectableBroker], clock: FakeClock
) -> None:
    connect_to(broker, three, 1)
    clock.now_s += RETURN_S
    broker.poll(0.0)
    ticket = broker.publish(CLIP)
    three[0].accept()

    assert broker.poll(0.0) == []
    three[1].events.append(DeliveredEvent(ticket))
    first, second = broker.poll(0.0)

    assert first == DeliveredEvent(ticket)
    assert isinstance(second, ConnectedEvent)


def test_preferred_brokers_are_tried_in_their_order_and_ever_more_rarely(
    broker: FailoverBroker, three: list[FakeSelectableBroker], clock: FakeClock
) -> None:
    connect_to(broker, three, 2)
    pause_s, tried = RETURN_S, [1, 1]
    for _ in range(6):
        clock.now_s += pause_s
        broker.poll(0.0)
        for number in (0, 1):
            tried[number] += 1
            assert [attempts(three[0]), attempts(three[1])] == tried
            three[number].events.append(LOST)
            broker.poll(0.0)
        assert three[2].is_open
        pause_s = min(2 * pause_s, LONGEST_RETURN_S)
        clock.now_s -= 1
        broker.poll(0.0)
        assert [attempts(three[0]), attempts(three[1])] == tried
        clock.now_s += 1

    three[2].events.append(LOST)
    broker.poll(0.0)
    broker.connect()
    three[0].accept()
    assert isinstance(broker.poll(0.0)[0], ConnectedEvent)


def test_silent_broker_is_left(
    broker: FailoverBroker, three: list[FakeSelectableBroker], clock: FakeClock
) -> None:
    connect_to(broker, three, 0)
    broker.publish(CLIP)
    clock.now_s += SILENT_S
    assert broker.poll(0.0) == []
    clock.now_s += 1

    (event,) = broker.poll(0.0)

    assert event == ConnectionLostEvent("the broker is silent", address="a:1")
    assert not three[0].is_open
    broker.connect()
    assert attempts(three[1]) == 1


def test_quiet_broker_is_not_silent(
    broker: FailoverBroker, three: list[FakeSelectableBroker], clock: FakeClock
) -> None:
    connect_to(broker, three, 0)
    ticket = broker.publish(CLIP)
    three[0].events.append(DeliveredEvent(ticket))
    broker.poll(0.0)
    clock.now_s += 100 * SILENT_S

    assert broker.poll(0.0) == []
    broker.publish(CLIP)
    assert broker.poll(0.0) == [], "the time begins with the message"


def test_trial_ends_with_the_connection(
    broker: FailoverBroker, three: list[FakeSelectableBroker], clock: FakeClock
) -> None:
    connect_to(broker, three, 1)
    clock.now_s += RETURN_S
    broker.poll(0.0)
    three[1].events.append(LOST)

    assert broker.poll(0.0) == [LOST]

    assert three[0].calls[-1] == "close"
    broker.connect()
    assert attempts(three[2]) == 1


def test_one_broker_has_the_plain_client(tmp_path: Path) -> None:
    del tmp_path

    def make(settings: BrokerSettings) -> PahoBroker:
        return PahoBroker(settings, "d-hall")

    assert isinstance(failover_client(BrokerSettings(), make), PahoBroker)
    assert isinstance(failover_client(BrokerSettings(hosts=("a",)), make), PahoBroker)
    assert isinstance(failover_client(BrokerSettings(hosts=("a", "b")), make), FailoverBroker)
