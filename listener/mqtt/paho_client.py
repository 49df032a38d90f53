"""Client of the broker on paho, without threads and without a queue of its own.

paho keeps messages that it could not send and sends them again on each connection: one message on
which the broker closes the connection then takes the device offline for good, and all of them are
lost with the process. So each connection here is a new paho client, and only the spool is a queue.

``ProtocolVersion`` selects MQTT 5 or 3.1.1, and ``EventQueue`` turns paho's callbacks into events.
TCP_NODELAY and TCP_QUICKACK are set: an acknowledgement is a small packet right behind another, and
with the defaults each side delays it by up to 40 ms, so that a clip takes 90 ms instead of 25.
"""

import contextlib
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from listener.config import BrokerSettings
from listener.mqtt import credentials
from listener.mqtt.client import (
    IN_FLIGHT,
    LONGEST_PUBLISHED_MS,
    LONGEST_WAITED_S,
    PUBLISHED,
    WAITED,
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
from listener.quantities import quantity


class ProtocolVersion:
    """MQTT version of the next connection.

    Args:
        version: one version, or ``auto``: 5 first, and 3.1.1 if the broker does not support 5.
    """

    def __init__(self, version: Literal["auto", "5", "3.1.1"]) -> None:
        self._may_change = version == "auto"
        self._preferred = (
            MQTTProtocolVersion.MQTTv311 if version == "3.1.1" else MQTTProtocolVersion.MQTTv5
        )
        self._spoken = self._preferred

    @property
    def is_v5(self) -> bool:
        """Whether the version is 5."""
        return self._spoken == MQTTProtocolVersion.MQTTv5

    @property
    def has_fallback(self) -> bool:
        """Whether another version is left to try."""
        return self._may_change and self._spoken == self._preferred

    def new_client(self, client_id: str) -> paho.Client:
        """Return a new client of this version."""
        return paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if self.is_v5 else True,
            protocol=self._spoken,
            reconnect_on_failure=False,
        )

    def connect(
        self,
        client: paho.Client,
        settings: BrokerSettings,
        longest_bytes: int,
        receive_maximum: int | None,
    ) -> None:
        """Open a client's connection.

        Args:
            client: as ``new_client`` returned it.
            settings: the broker's address, and the keep-alive interval.
            longest_bytes: maximum packet size to receive; not sent with 3.1.1.
            receive_maximum: messages in flight to receive; not sent with 3.1.1.

        Raises:
            OSError: the connection or the TLS handshake failed.
            ValueError: paho rejects the address.
        """
        host, port, keepalive_s = settings.host, settings.port, settings.keepalive_s
        if not self.is_v5:
            client.connect(host, port, keepalive_s)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # no types in paho
        properties.MaximumPacketSize = longest_bytes
        if receive_maximum is not None:
            properties.ReceiveMaximum = receive_maximum
        client.connect(host, port, keepalive_s, clean_start=True, properties=properties)

    def fall_back(self) -> None:
        """Use the other version next, unless one is configured."""
        if self._may_change:
            self._spoken = (
                MQTTProtocolVersion.MQTTv311 if self.is_v5 else MQTTProtocolVersion.MQTTv5
            )

    def start_over(self) -> None:
        """Use the preferred version next: another broker may answer."""
        self._spoken = self._preferred


FAILURE: Final = 0x80
"""First reason code of a failure."""


class EventQueue:
    """Queue of events that ``poll`` has not returned, in order. For one thread."""

    def __init__(self) -> None:
        self._events: deque[BrokerEvent] = deque()
        self.unread_since_s: float | None = None
        """``Message.unread_since_s`` of the messages to come."""

    def __bool__(self) -> bool:
        return bool(self._events)

    def listen(self, client: paho.Client) -> None:
        """Register the callbacks of a client."""
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    def add(self, event: BrokerEvent) -> None:
        """Append an event."""
        self._events.append(event)

    def drain(self) -> list[BrokerEvent]:
        """Return all events and empty the queue."""
        events = list(self._events)
        self._events.clear()
        return events

    def _on_publish(
        self, _c: object, _d: object, ticket: int, code: ReasonCode, _p: object
    ) -> None:
        if code.value >= FAILURE:
            self.add(RejectedEvent(ticket, code.value, str(code)))
        else:
            self.add(DeliveredEvent(ticket, code.value))

    def _on_subscribe(
        self, _c: object, _d: object, _t: int, codes: list[ReasonCode], _p: object
    ) -> None:
        self._events.extend(DeniedEvent(str(code)) for code in codes if code.value >= FAILURE)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self.add(
            Message(
                topic,
                bytes(message.payload),
                message.qos,
                message.retain,
                waited_s=parse_waited(message.properties),
                published_ms=_parse_number(message.properties, PUBLISHED, LONGEST_PUBLISHED_MS),
                left_s=getattr(message.properties, "MessageExpiryInterval", None),
                unread_since_s=self.unread_since_s,
            )
        )


def disable_nagle(wire: object) -> None:
    """Set TCP_NODELAY; once for each connection."""
    _set_option(wire, socket.TCP_NODELAY)


def enable_quick_ack(wire: object) -> None:
    """Set TCP_QUICKACK; the kernel resets it, so repeat after each read."""
    _set_option(wire, socket.TCP_QUICKACK)


def has_pending_data(wire: object) -> bool:
    """Return whether TLS holds decrypted bytes that ``select`` does not see."""
    return isinstance(wire, ssl.SSLSocket) and wire.pending() > 0


def message_properties(message: Message, protocol: int) -> Properties | None:
    """Return expiry, time waited and time of publication; None without any or with MQTT 3.1.1."""
    pairs = []
    if message.waited_s:
        pairs.append((WAITED, str(min(message.waited_s, LONGEST_WAITED_S))))
    if message.published_ms:
        pairs.append((PUBLISHED, str(min(message.published_ms, LONGEST_PUBLISHED_MS))))
    if protocol != MQTTProtocolVersion.MQTTv5 or (message.expiry_s is None and not pairs):
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # no types in paho
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = message.expiry_s
    for pair in pairs:
        properties.UserProperty = pair  # paho appends each
    return properties


def parse_waited(properties: object) -> int:
    """Return the time waited in the properties of a received message, in seconds; 0 without it."""
    return _parse_number(properties, WAITED, LONGEST_WAITED_S)


def _parse_number(properties: object, wanted: str, most: int) -> int:
    """Return the number in a user property of a received message; 0 without a valid one."""
    for name, text in getattr(properties, "UserProperty", ()):
        if name == wanted and text.isascii() and text.isdigit() and len(text) <= len(str(most)):
            return int(text)
    return 0


def _set_option(wire: object, option: int) -> None:
    if isinstance(wire, socket.socket):
        # It may be closed already; the next read reports that.
        with contextlib.suppress(OSError):
            wire.setsockopt(socket.IPPROTO_TCP, option, 1)


_UNSUPPORTED_VERSION: Final = 0x84
_RETAIN_NOT_SUPPORTED: Final = 0x9A
_QOS_NOT_SUPPORTED: Final = 0x9B
_ANSWER_S: Final = 5.0  # for TCP, for TLS and for the CONNACK, each
# For the CONNACK while another version is left to try: amqtt falls silent at a version 5.
_TRIAL_S: Final = 2.0
_MOST_READS: Final = 4  # in one turn, after the first; the rest is read in the next turn
_MOST_QUEUED: Final = 64  # bounds the memory with a broker that acknowledges nothing


_TLS_PORT_HINT: Final = "check that this is the port of an MQTT broker; for TLS, set broker.ca_file"
PLAIN_PORT_HINT: Final = "if this port does not use TLS, unset broker.ca_file or set broker.port"


class PahoBroker:
    """Broker client for MQTT 5 and 3.1.1.

    Args:
        settings: address, credentials and protocol version.
        client_id: MQTT client id; a broker keeps one connection for each.
        will: last will, published by the broker when the connection is lost.
        longest_bytes: maximum packet size to receive.
        monotonic_s: monotonic clock, in seconds.
        retain_as_published: with MQTT 5, ``Message.retain`` is as published for every message. By
            default, and with 3.1.1, it is set only for those kept from before the subscription.
        receive_maximum: with MQTT 5, messages of QoS 1 that the broker may send before the first of
            them is acknowledged; by default as many as it likes.
        unconfirmed: topic filters to subscribe to with QoS 0: their messages may be lost, and are
            not queued behind others.

    Raises:
        ConfigError: a configured file is missing or invalid.
    """

    def __init__(  # noqa: PLR0913 - collaborators; only two are required
        self,
        settings: BrokerSettings,
        client_id: str,
        will: Message | None = None,
        longest_bytes: int = 1 << 21,
        monotonic_s: Callable[[], float] = time.monotonic,
        *,
        retain_as_published: bool = False,
        receive_maximum: int | None = None,
        unconfirmed: Collection[str] = (),
    ) -> None:
        self._unconfirmed = unconfirmed
        self._settings = settings
        self._retain_as_published = retain_as_published
        self._receive_maximum = receive_maximum
        self._client_id = client_id
        self._will = will
        self._longest_bytes = longest_bytes
        self._monotonic_s = monotonic_s
        self._tls = credentials.tls_context(settings)
        self._password = credentials.password(settings)
        self._version = ProtocolVersion(settings.protocol)
        self._reached = False
        self._granted = BrokerLimits()
        self._client: paho.Client | None = None
        self._connack_until_s: float | None = None
        self._events = EventQueue()

    def connect(self) -> None:
        """Open the connection; blocks for at most 5 s for TCP and 5 s for TLS."""
        self._drop()
        client = self._new_client()
        self._client = client
        trial = self._version.has_fallback
        self._connack_until_s = self._monotonic_s() + _ANSWER_S
        self._events.unread_since_s = self._monotonic_s()
        self._reached = False
        try:
            self._version.connect(
                client, self._settings, self._longest_bytes, self._receive_maximum
            )
        except ssl.SSLCertVerificationError as error:
            self._lose(f"certificate verification failed: {error.verify_message}")
        except (OSError, ValueError) as error:
            hint = ""
            if self._tls is not None and isinstance(error, ssl.SSLError | ConnectionResetError):
                hint = PLAIN_PORT_HINT
            self._lose(getattr(error, "strerror", None) or str(error) or "no answer", hint=hint)
        else:
            disable_nagle(client.socket())
            self._reached = True
            self._connack_until_s = self._monotonic_s() + (_TRIAL_S if trial else _ANSWER_S)

    def subscribe(self, pattern: str) -> None:
        """Subscribe to the topic filter ``pattern`` with QoS 1, or 0 if that is the maximum."""
        if self._client is None:
            return
        qos = 0 if pattern in self._unconfirmed else min(1, self._granted.qos)
        if self._version.is_v5:
            options = SubscribeOptions(qos, retainAsPublished=self._retain_as_published)
            self._client.subscribe(pattern, options=options)
        else:
            self._client.subscribe(pattern, qos)

    def publish(self, message: Message) -> int:
        """Queue a message within the broker's limits; return its ticket, or 0 if not queued."""
        if self._client is None:
            return 0
        result = self._client.publish(
            message.topic,
            message.payload,
            min(message.qos, self._granted.qos),
            message.retain and self._granted.retain,
            message_properties(message, self._client.protocol),
        )
        return 0 if result.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE else result.mid

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        """Wait and return the events; return early when a descriptor in ``also`` is readable."""
        client = self._client
        wire = client.socket() if client is not None else None
        if client is None or wire is None:
            if not self._events:
                select.select(also, (), (), longest_s)
        else:
            # paho checks keep-alive by its own clock in loop_misc, at each call.
            is_pending = has_pending_data(wire)
            wait_s = 0.0 if self._events or is_pending else longest_s
            writing = (wire,) if client.want_write() else ()
            readable, writable, _ = select.select((wire, *also), writing, (), wait_s)
            reads = is_pending or wire in readable
            if not reads:
                self._events.unread_since_s = self._monotonic_s()
            self._turn(client, reads=reads, writes=bool(writable))
        return self._events.drain()

    def descriptors(self) -> Sequence[Waitable]:
        """Return the connection's socket, or nothing without a connection."""
        wire = self._client.socket() if self._client is not None else None
        return () if wire is None else (wire,)

    def is_ready(self) -> bool:
        """Return whether ``poll`` returns at once, or has bytes to write."""
        wire = self._client.socket() if self._client is not None else None
        return (
            bool(self._events)
            or has_pending_data(wire)
            or (self._client is not None and self._client.want_write())
        )

    def close(self) -> None:
        """Disconnect, so that no last will is published."""
        if self._client is not None and self._client.is_connected():
            self._client.on_disconnect = None
            self._client.disconnect()
        self._drop()
        self._events.drain()

    def _turn(self, client: paho.Client, *, reads: bool, writes: bool) -> None:
        try:
            if writes:
                client.loop_write()
            if reads:
                client.loop_read()
                enable_quick_ack(client.socket())
                # TLS may hold decrypted bytes that select does not see. Bounded: a flood of
                # messages must neither fill the memory nor keep the caller from its other work.
                for _ in range(_MOST_READS):
                    if not has_pending_data(client.socket()):
                        break
                    client.loop_read()
                self._note_unread(client.socket())
            client.loop_misc()
        except Exception as error:  # noqa: BLE001 - paho raises whatever its parser trips over
            self._lose(f"the server does not speak MQTT ({type(error).__name__})")
            return
        if self._client is client and client.socket() is None:
            self._lose("the broker closed the connection")
        waiting = self._connack_until_s is not None
        if waiting and self._monotonic_s() > (self._connack_until_s or 0.0):
            self._lose("it does not answer")

    def _note_unread(self, wire: Waitable | None) -> None:
        """Note the time if nothing is left to read."""
        if wire is None or has_pending_data(wire) or select.select((wire,), (), (), 0.0)[0]:
            return
        self._events.unread_since_s = self._monotonic_s()

    def _new_client(self) -> paho.Client:
        client = self._version.new_client(self._client_id)
        client.connect_timeout = _ANSWER_S
        client.max_inflight_messages = self._granted.in_flight
        client.max_queued_messages = _MOST_QUEUED
        if self._settings.username is not None:
            client.username_pw_set(self._settings.username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if self._will is not None:
            client.will_set(
                self._will.topic,
                self._will.payload,
                min(self._will.qos, self._granted.qos),
                self._will.retain and self._granted.retain,
            )
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        self._events.listen(client)
        return client

    def _on_connect(
        self,
        client: paho.Client,
        _data: object,
        _flags: object,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._connack_until_s = None
        if code.value >= FAILURE:
            if code.value == _RETAIN_NOT_SUPPORTED:
                self._granted = replace(self._granted, retain=False)
            elif code.value == _QOS_NOT_SUPPORTED:
                self._granted = replace(self._granted, qos=0)
            elif code.value == _UNSUPPORTED_VERSION:
                self._version.fall_back()
            self._lose(str(code), code.value)
            return
        receives = getattr(properties, "ReceiveMaximum", IN_FLIGHT)
        self._granted = BrokerLimits(
            packet_bytes=getattr(properties, "MaximumPacketSize", None),
            qos=getattr(properties, "MaximumQoS", 1),
            retain=bool(getattr(properties, "RetainAvailable", 1)),
            in_flight=min(IN_FLIGHT, receives),
        )
        if self._granted.in_flight < client.max_inflight_messages:
            # paho cannot lower this on an open connection.
            self._lose(
                f"the broker accepts only {quantity(receives, 'message')} in flight: reconnecting"
            )
            return
        protocol = "5" if self._version.is_v5 else "3.1.1"
        self._events.add(ConnectedEvent(self._granted, protocol, self._settings.address))

    def _on_disconnect(
        self, client: object, _d: object, flags: paho.DisconnectFlags, code: ReasonCode, _p: object
    ) -> None:
        if client is not self._client:
            return
        if flags.is_disconnect_packet_from_server:
            self._lose(str(code), code.value)
        else:
            self._lose("the connection broke")

    def _lose(self, reason: str, code: int | None = None, hint: str = "") -> None:
        if self._client is None:
            return
        if self._tls is None and self._reached and self._connack_until_s is not None:
            # A server of TLS closes the connection on a CONNECT, or waits.
            hint = hint or (_TLS_PORT_HINT if code is None else "")
        if self._connack_until_s is None:
            if code != _UNSUPPORTED_VERSION:
                self._version.start_over()
        elif self._reached:
            # The server accepted TCP and not MQTT: some brokers close the connection on a version
            # that they do not support. The versions are tried in turn.
            self._version.fall_back()
        self._drop()
        self._events.add(ConnectionLostEvent(reason, code, self._settings.address, hint))

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._connack_until_s = None
        if client is not None:
            client.on_disconnect = None
            if (wire := client.socket()) is not None:
                wire.close()
