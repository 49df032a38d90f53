"""Commands from the broker: forwarded to hear, and nothing more."""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from listener.config import SpoolSettings
from listener.ipc.control import ControlClient, ControlSocket, MuteRequest, UnmuteRequest
from listener.mqtt import topics
from listener.mqtt.broker import BrokerEvent, BrokerLimits, ConnectedEvent, Message, Waitable
from listener.send.courier import ClipDelivery
from listener.send.loop import Sender
from listener.spool.queue import Spool


class TellingBroker:
    """Tells what the test puts in; keeps what it is asked for."""

    def __init__(self) -> None:
        self.happens: deque[BrokerEvent] = deque()
        self.subscribed: list[str] = []

    def connect(self) -> None:
        pass

    def subscribe(self, pattern: str) -> None:
        self.subscribed.append(pattern)

    def publish(self, message: Message) -> int:
        del message
        return 1

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        del longest_s, also
        happened = list(self.happens)
        self.happens.clear()
        return happened

    def close(self) -> None:
        pass


class Bench:
    def __init__(self, home: Path) -> None:
        self.path = home / "control.sock"
        self.broker = TellingBroker()
        self.controller = ControlClient(self.path)
        self.sender = Sender(
            ClipDelivery(Spool(home / "spool", SpoolSettings()), "hall", 5.0),
            self.broker,
            controller=self.controller,
        )

    def message(self, payload: bytes, topic: str = "earmark/v1/command/hall", **how: bool) -> None:
        self.broker.happens.append(Message(topic, payload, 1, **how))
        self.sender.turn(0.0)


@pytest.fixture
def bench(home: Path) -> Iterator[Bench]:
    made = Bench(home)
    yield made
    made.controller.close()


@pytest.fixture
def hear(bench: Bench) -> Iterator[ControlSocket]:
    made = ControlSocket(bench.path)
    yield made
    made.close()


def test_the_topic_is_this_devices_own(bench: Bench) -> None:
    bench.broker.happens.append(ConnectedEvent(BrokerLimits(), "5"))

    bench.sender.turn(0.0)

    assert bench.broker.subscribed == ["earmark/v1/ack/hall/+", "earmark/v1/command/hall"]


def test_who_forwards_no_commands_asks_for_none(home: Path) -> None:
    broker = TellingBroker()
    sender = Sender(ClipDelivery(Spool(home / "spool", SpoolSettings()), "hall", 5.0), broker)
    broker.happens.append(ConnectedEvent(BrokerLimits(), "5"))

    sender.turn(0.0)

    assert broker.subscribed == ["earmark/v1/ack/hall/+"]


def test_a_command_is_forwarded(bench: Bench, hear: ControlSocket) -> None:
    bench.message(b"mute")
    bench.message(b"unmute")

    assert list(hear.receive()) == [MuteRequest(), UnmuteRequest()]
    assert bench.sender.commands.ignored == 0


def test_a_command_that_the_broker_kept_is_ignored(bench: Bench, hear: ControlSocket) -> None:
    bench.message(b"unmute", retain=True)
    bench.message(b"mute", retain=True)

    assert list(hear.receive()) == []
    assert bench.sender.commands.ignored == 2


def test_another_devices_command_is_none_of_ours(bench: Bench, hear: ControlSocket) -> None:
    for topic in ("earmark/v1/command/kitchen", "earmark/v1/command/hall/x", "earmark/v1/command"):
        bench.message(b"mute", topic)

    assert list(hear.receive()) == []


def test_a_mute_waits_for_a_hear_that_is_away(bench: Bench) -> None:
    bench.message(b"mute")
    hear = ControlSocket(bench.path)
    bench.sender.turn(0.0)
    bench.sender.turn(0.0)

    assert list(hear.receive()) == [MuteRequest()]
    hear.close()


def test_an_unmute_does_not_wait_for_a_hear_that_is_away(bench: Bench) -> None:
    bench.message(b"unmute")
    hear = ControlSocket(bench.path)
    bench.sender.turn(0.0)

    assert list(hear.receive()) == []
    assert bench.sender.commands.ignored == 1
    hear.close()


def test_an_unmute_does_not_overtake_a_mute_that_waits(bench: Bench) -> None:
    bench.message(b"mute")
    bench.message(b"unmute")
    hear = ControlSocket(bench.path)
    bench.sender.turn(0.0)

    assert list(hear.receive()) == [MuteRequest()]
    hear.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=64))
@example(b"MUTE")
@example(b"mute\n")
@example(b"unmute\x00")
@example(b'{"kind":"unmute"}')
@example(b"")
def test_hostile_payloads_are_counted_and_reach_nobody(
    bench: Bench, hear: ControlSocket, payload: bytes
) -> None:
    before = bench.sender.commands.ignored

    bench.message(payload)

    said = list(hear.receive())
    if topics.parse_command(payload) is None:
        assert said == []
        assert bench.sender.commands.ignored == before + 1
    else:
        assert len(said) == 1
