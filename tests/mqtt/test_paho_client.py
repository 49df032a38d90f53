"""The broker's client against a broker that says exactly what the test makes it say.

Which version is spoken; what the wire shows of it is in test_client.py.

What happened is told once and in its order; what paho makes of bytes is in test_client.py.

Small packets do not wait.
"""

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import paho.mqtt.client as paho
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from listener.config import BrokerSettings
from listener.errors import ConfigError
from listener.household import broker_config, ca
from listener.mqtt import paho_client
from listener.mqtt.client import (
    LONGEST_WAITED_S,
    BrokerEvent,
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    DeniedEvent,
    Message,
    RejectedEvent,
)
from listener.mqtt.paho_client import (
    EventQueue,
    PahoBroker,
    ProtocolVersion,
    message_properties,
    parse_waited,
)

WELCOME_5 = b"\x20\x03\x00\x00\x00"
WELCOME_3 = b"\x20\x02\x00\x00"


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Script:
    """One end of a connection in the test's hands."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._peers: list[socket.socket] = []

    def accept(self) -> bytes:
        """Take the next call; return what the caller said first."""
        peer, _ = self._listening.accept()
        peer.settimeout(40)
        self._peers.append(peer)
        return peer.recv(4096)

    def say(self, data: bytes) -> None:
        self._peers[-1].sendall(data)

    def hear(self) -> bytes:
        return self._peers[-1].recv(4096)

    def rest(self) -> bytes:
        """Return all that comes until the caller hangs up."""
        heard = b""
        while more := self.hear():
            heard += more
        return heard

    def hang_up(self) -> None:
        self._peers[-1].close()

    def close(self) -> None:
        self._listening.close()
        for peer in self._peers:
            peer.close()


@pytest.fixture
def script() -> Iterator[Script]:
    made = Script()
    yield made
    made.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def broker(script: Script, clock: FakeClock) -> Iterator[PahoBroker]:
    will = Message("status", b"offline", 1, retain=True)
    made = PahoBroker(BrokerSettings(port=script.port), "d-hall", will, 4096, clock)
    yield made
    made.close()


def welcomed(script: Script, broker: PahoBroker, welcome: bytes = WELCOME_5) -> BrokerEvent:
    broker.connect()
    script.accept()
    script.say(welcome)
    (happening,) = broker.poll(5)
    return happening


def version(hello: bytes) -> int:
    return hello[hello.index(b"MQTT") + 4]


def properties(*pairs: bytes) -> bytes:
    body = b"".join(pairs)
    return bytes((0x20, 3 + len(body), 0, 0, len(body))) + body


def test_connack_has_the_limits(script: Script, broker: PahoBroker) -> None:
    limits = properties(b"\x27\x00\x00\x10\x00", b"\x24\x00", b"\x25\x00", b"\x21\x00\x14")

    happening = welcomed(script, broker, limits)

    assert happening == ConnectedEvent(BrokerLimits(4096, 0, retain=False, in_flight=8), "5")


def test_limits_of_the_broker_are_kept(script: Script, broker: PahoBroker) -> None:
    welcomed(script, broker, properties(b"\x24\x00", b"\x25\x00"))

    ticket = broker.publish(Message("t", b"x", 1, retain=True))

    assert script.hear() == b"\x30\x05\x00\x01t\x00x"
    assert broker.poll(5) == [DeliveredEvent(ticket)]


def test_smaller_receive_maximum_reconnects(script: Script, broker: PahoBroker) -> None:
    first = welcomed(script, broker, properties(b"\x21\x00\x02"))
    again = welcomed(script, broker, properties(b"\x21\x00\x02"))

    assert isinstance(first, ConnectionLostEvent)
    assert again == ConnectedEvent(BrokerLimits(in_flight=2), "5")
    for _ in range(3):
        broker.publish(Message("t", b"", 1))
    broker.close()
    assert script.rest().count(b"\x00\x01t") == 2


@pytest.mark.parametrize(("code", "qos", "retain"), [(0x9A, 1, 0), (0x9B, 0, 1)])
def test_rejected_will_is_reduced(
    script: Script, broker: PahoBroker, code: int, qos: int, retain: int
) -> None:
    refused = welcomed(script, broker, bytes((0x20, 3, 0, code, 0)))

    broker.connect()
    hello = script.accept()

    assert isinstance(refused, ConnectionLostEvent)
    assert refused.code == code
    flags = hello[hello.index(b"MQTT") + 5]
    assert (flags >> 3 & 3, flags >> 5 & 1) == (qos, retain)


@pytest.mark.parametrize("goodbye", ["code", "silence", "hang up"])
def test_broker_without_mqtt_5_gets_3_1_1(
    script: Script, broker: PahoBroker, clock: FakeClock, goodbye: str
) -> None:
    broker.connect()
    first = script.accept()
    match goodbye:
        case "code":
            script.say(b"\x20\x03\x00\x84\x00")
        case "silence":
            clock.now_s += 2.1
        case _:
            script.hang_up()
    (lost,) = broker.poll(0.5) or broker.poll(0)

    broker.connect()
    second = script.accept()
    script.say(WELCOME_3)

    assert isinstance(lost, ConnectionLostEvent)
    assert (version(first), version(second)) == (5, 4)
    assert broker.poll(5) == [ConnectedEvent(BrokerLimits(), "3.1.1")]


def test_mqtt_5_is_tried_first_after_a_loss(script: Script, broker: PahoBroker) -> None:
    broker.connect()
    script.accept()
    script.hang_up()
    broker.poll(5)
    welcomed(script, broker, WELCOME_3)
    script.hang_up()
    assert [type(one) for one in broker.poll(5)] == [ConnectionLostEvent]

    broker.connect()

    assert version(script.accept()) == 5


@pytest.mark.parametrize(("protocol", "number"), [("5", 5), ("3.1.1", 4)])
def test_configured_version_is_kept(
    script: Script, protocol: Literal["5", "3.1.1"], number: int
) -> None:
    settings_ = BrokerSettings(port=script.port, protocol=protocol)
    broker = PahoBroker(settings_, "d-hall")
    heard = []
    for _ in range(2):
        broker.connect()
        heard.append(version(script.accept()))
        script.hang_up()
        broker.poll(5)

    assert heard == [number, number]
    broker.close()


def test_delivery_and_rejection_have_the_ticket(script: Script, broker: PahoBroker) -> None:
    welcomed(script, broker)
    first, second = (broker.publish(Message("t", b"x", 1)) for _ in range(2))
    script.say(bytes((0x40, 4, 0, first, 0x10, 0)))
    script.say(bytes((0x40, 4, 0, second, 0x87, 0)))

    happened = broker.poll(5)
    while len(happened) < 2:
        happened += broker.poll(5)

    assert happened == [DeliveredEvent(first, 0x10), RejectedEvent(second, 0x87, "Not authorized")]


def test_message_is_received_and_acknowledged(script: Script, broker: PahoBroker) -> None:
    welcomed(script, broker)

    script.say(b"\x32\x08\x00\x01t\x00\x07\x00hi")

    assert broker.poll(5) == [Message("t", b"hi", 1)]
    assert script.hear()[:4] == b"\x40\x02\x00\x07"


def test_denied_subscription_is_an_event(script: Script, broker: PahoBroker) -> None:
    welcomed(script, broker)
    broker.subscribe("a/#")
    asked = script.hear()

    script.say(b"\x90\x04" + asked[2:4] + b"\x00\x87")

    assert broker.poll(5) == [DeniedEvent("Not authorized")]


def test_disconnect_of_the_broker_has_its_reason(script: Script, broker: PahoBroker) -> None:
    welcomed(script, broker)

    script.say(b"\xe0\x02\x95\x00")

    assert broker.poll(5) == [ConnectionLostEvent("Packet too large", 0x95)]
    assert broker.publish(Message("t", b"")) == 0
    assert broker.poll(0) == []


def test_message_with_an_invalid_topic_is_dropped(script: Script, broker: PahoBroker) -> None:
    welcomed(script, broker)

    script.say(b"\x30\x05\x00\x01\xff\x00x" + b"\x30\x05\x00\x01t\x00x")

    happened = broker.poll(5) or broker.poll(5)
    assert happened == [Message("t", b"x", 0)]


def test_missing_broker_is_a_connection_loss(script: Script, broker: PahoBroker) -> None:
    script.close()

    broker.connect()

    (lost,) = broker.poll(0)
    assert isinstance(lost, ConnectionLostEvent)
    assert "refused" in lost.reason


def test_poll_returns_early_for_another_descriptor(script: Script, broker: PahoBroker) -> None:
    here, there = socket.socketpair()
    there.send(b"x")

    assert broker.poll(5, (here,)) == []
    welcomed(script, broker)
    assert broker.poll(5, (here,)) == []
    here.close()
    there.close()


def test_close_sends_disconnect(script: Script, broker: PahoBroker) -> None:
    welcomed(script, broker)

    broker.close()

    assert script.hear()[:1] == b"\xe0"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(min_size=1, max_size=60))
def test_arbitrary_bytes_of_a_broker_raise_nothing(
    script: Script, broker: PahoBroker, data: bytes
) -> None:
    welcomed(script, broker)

    script.say(data)
    script.hang_up()

    for _ in range(20):
        if any(isinstance(one, ConnectionLostEvent) for one in broker.poll(1)):
            break
    else:
        pytest.fail("the connection was never given up")


def test_password_file_readable_by_others_is_refused(script: Script, tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("open sesame\n")
    settings_ = BrokerSettings(port=script.port, username="d-hall", password_file=str(path))

    path.chmod(0o604)
    with pytest.raises(ConfigError, match="readable by every user"):
        PahoBroker(settings_, "d-hall")

    path.chmod(0o600)
    broker = PahoBroker(settings_, "d-hall")
    broker.connect()
    assert script.accept().endswith(b"\x00\x06d-hall\x00\x0bopen sesame")
    broker.close()


def test_unacknowledged_messages_are_bounded(script: Script, broker: PahoBroker) -> None:
    welcomed(script, broker)

    tickets = [broker.publish(Message("t", b"x", 1)) for _ in range(200)]

    assert all(tickets[:50])
    assert not any(tickets[100:])


def test_versions_are_tried_in_turn() -> None:
    dialect = ProtocolVersion("auto")
    spoken = []

    for _ in range(3):
        spoken.append((dialect.is_v5, dialect.has_fallback))
        dialect.fall_back()

    assert spoken == [(True, True), (False, False), (True, True)]


def test_start_over_prefers_mqtt_5() -> None:
    dialect = ProtocolVersion("auto")
    dialect.fall_back()

    dialect.start_over()

    assert dialect.is_v5


@pytest.mark.parametrize(("asked", "is_new"), [("5", True), ("3.1.1", False)])
def test_configured_version_has_no_fallback(asked: Literal["5", "3.1.1"], *, is_new: bool) -> None:
    dialect = ProtocolVersion(asked)

    dialect.fall_back()

    assert dialect.is_v5 == is_new
    assert not dialect.has_fallback


def test_new_client_has_the_current_version() -> None:
    dialect = ProtocolVersion("auto")
    first = dialect.new_client("d-hall")
    dialect.fall_back()

    assert first.protocol == MQTTProtocolVersion.MQTTv5
    assert dialect.new_client("d-hall").protocol == MQTTProtocolVersion.MQTTv311


@pytest.fixture
def client() -> paho.Client:
    return paho.Client(CallbackAPIVersion.VERSION2, "d-hall")


def receipt(client: paho.Client, ticket: int, code: int) -> None:
    """Call back as paho does when a receipt has come."""
    told: Any = client.on_publish  # paho's own type for it is of two versions at once
    told(client, None, ticket, ReasonCode(PacketTypes.PUBACK, identifier=code), None)


def test_events_are_drained_once_in_order(client: paho.Client) -> None:
    inbox = EventQueue()
    inbox.listen(client)
    assert not inbox

    receipt(client, 1, 0)
    inbox.add(ConnectionLostEvent("the connection broke"))

    assert inbox
    assert inbox.drain() == [DeliveredEvent(1), ConnectionLostEvent("the connection broke")]
    assert inbox.drain() == []


@pytest.mark.parametrize(("code", "is_taken"), [(0x00, True), (0x10, True), (0x80, False)])
def test_failure_reason_codes_are_rejections(
    client: paho.Client, code: int, *, is_taken: bool
) -> None:
    inbox = EventQueue()
    inbox.listen(client)

    receipt(client, 7, code)

    (told,) = inbox.drain()
    assert isinstance(told, DeliveredEvent if is_taken else RejectedEvent)
    assert (told.ticket, told.code) == (7, code)


def test_socket_options_are_set() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as wire,
    ):
        paho_client.disable_nagle(wire)
        paho_client.enable_quick_ack(wire)

        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert not paho_client.has_pending_data(wire)


def test_socket_options_of_a_closed_socket_raise_nothing() -> None:
    wire = socket.socket()
    wire.close()

    paho_client.disable_nagle(wire)
    paho_client.enable_quick_ack(None)

    assert not paho_client.has_pending_data(None)


class FloodedClient:
    """A client whose TLS connection holds messages that no ``select`` sees."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self._wire, self._peer = socket.socketpair()

    def socket(self) -> socket.socket:
        return self._wire

    def want_write(self) -> bool:
        return False

    def loop_read(self) -> None:
        self.waiting -= 1

    def loop_misc(self) -> None:
        pass

    def close(self) -> None:
        self._wire.close()
        self._peer.close()


def test_flood_inside_tls_is_read_in_bounded_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    flooded = FloodedClient(100)
    monkeypatch.setattr(paho_client, "has_pending_data", lambda _: flooded.waiting > 0)
    broker = PahoBroker(BrokerSettings(), "d-hall")
    broker._client = flooded  # type: ignore[assignment] # noqa: SLF001 - as after a connection
    left = []
    while flooded.waiting:
        broker.poll(30.0)  # and waits for nothing, with so much to read
        left.append(flooded.waiting)

    assert left == list(range(95, -1, -5))
    broker._client = None  # noqa: SLF001 - it is none of paho's
    flooded.close()


@pytest.mark.parametrize("waited_s", [1, 86_400, 10**12])
def test_time_waited_is_a_user_property_of_mqtt_5(waited_s: int) -> None:
    message = Message("a", b"", waited_s=waited_s)
    properties = message_properties(message, MQTTProtocolVersion.MQTTv5)

    assert properties is not None
    assert len(properties.pack()) <= 22  # type: ignore[no-untyped-call] # no types in paho
    assert parse_waited(properties) == min(waited_s, LONGEST_WAITED_S)
    assert message_properties(message, MQTTProtocolVersion.MQTTv311) is None


@pytest.mark.parametrize("text", ["", "-1", "1.5", "٣", "1e9", "9" * 11, "x" * 60_000])
def test_other_time_waited_is_ignored(text: str) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # no types in paho
    properties.UserProperty = [("waited", text), ("other", "5")]

    assert parse_waited(properties) == 0
    assert parse_waited(None) == 0


def test_message_shows_how_long_it_was_in_transit(
    script: Script, broker: PahoBroker, clock: FakeClock
) -> None:
    welcomed(script, broker)
    clock.now_s += 5
    assert broker.poll(0) == []
    empty_s = clock.now_s
    clock.now_s += 7
    script.say(b"\x30\x0a\x00\x01a\x05\x02\x00\x00\x00\x14x")
    script.say(b"\x30\x05\x00\x01a\x00y")

    received = broker.poll(5)
    while len(received) < 2:
        received += broker.poll(5)

    first, second = received
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert (first.payload, first.left_s, first.unread_since_s) == (b"x", 20, empty_s)
    assert (second.payload, second.left_s) == (b"y", None)


def test_loss_names_host_and_port(script: Script, broker: PahoBroker) -> None:
    script.close()

    broker.connect()

    (lost,) = broker.poll(0)
    assert isinstance(lost, ConnectionLostEvent)
    assert lost.describe() == f" at {lost.address}: {lost.reason}"
    assert lost.address.endswith(f":{script.port}")
    assert not lost.hint


def test_plain_client_at_a_port_for_tls_has_a_hint(script: Script, broker: PahoBroker) -> None:
    broker.connect()
    script.accept()
    script.hang_up()

    (lost,) = broker.poll(5)

    assert isinstance(lost, ConnectionLostEvent)
    assert "for TLS, set broker.ca_file" in lost.hint


@pytest.mark.filterwarnings(  # paho leaves the socket of a failed handshake to the collector
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
@pytest.mark.parametrize("answer", [b"", b"\x20\x03\x00\x84\x00", b"\x00" * 64])
def test_tls_client_at_a_plain_port_has_a_hint(
    script: Script, tmp_path: Path, answer: bytes
) -> None:
    """A broker hangs up on a handshake, with or without an answer in MQTT."""

    def serve() -> None:
        script.accept()
        if answer:
            script.say(answer)
        script.hang_up()

    ca.create_authority(tmp_path, datetime(2026, 11, 29, tzinfo=UTC))
    settings = BrokerSettings(port=script.port, ca_file=str(tmp_path / broker_config.CA))
    client = PahoBroker(settings, "d-hall")
    server = threading.Thread(target=serve)
    server.start()

    client.connect()

    server.join()
    (lost,) = client.poll(0)
    client.close()
    assert isinstance(lost, ConnectionLostEvent)
    assert "if this port does not use TLS, unset broker.ca_file" in lost.hint
