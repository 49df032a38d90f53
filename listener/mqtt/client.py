"""The broker's client: paho, without threads and without a memory of its own.

paho keeps what it could not send and sends it again on each connection: one message that the broker
cuts off then takes the device offline for good, and all of it is lost with the process. So each
connection here is a new paho client, and nothing but the spool is a queue.
"""

import select
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from listener.config import BrokerSettings
from listener.mqtt import access, wires
from listener.mqtt.broker import (
    IN_FLIGHT,
    BrokerEvent,
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    Message,
    Waitable,
)
from listener.mqtt.dialect import ProtocolVersion
from listener.mqtt.inbox import FAILURE, EventQueue

_UNSUPPORTED_VERSION: Final = 0x84
_RETAIN_NOT_SUPPORTED: Final = 0x9A
_QOS_NOT_SUPPORTED: Final = 0x9B
_ANSWER_S: Final = 5.0  # for TCP, for TLS and for the CONNACK, each
# For the CONNACK while another version is left to try: amqtt falls silent at a version 5.
_TRIAL_S: Final = 2.0
_MOST_QUEUED: Final = 64  # a broker that receipts nothing must not cost memory without end


class PahoBroker:
    """MQTT 5, or 3.1.1 where the broker knows no better.

    Args:
        settings: where it is and how to speak to it.
        client_id: the broker lets one connection live for each.
        will: published by the broker when we vanish.
        longest_bytes: the longest packet we want to receive.
        monotonic_s: a clock that never jumps.

    Raises:
        ConfigError: a file that the settings name is missing, or no use.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        client_id: str,
        will: Message | None = None,
        longest_bytes: int = 1 << 21,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._will = will
        self._longest_bytes = longest_bytes
        self._monotonic_s = monotonic_s
        self._tls = access.tls_context(settings)
        self._password = access.password(settings)
        self._dialect = ProtocolVersion(settings.protocol)
        self._reached = False
        self._granted = BrokerLimits()
        self._client: paho.Client | None = None
        self._welcome_until_s: float | None = None
        self._inbox = EventQueue()

    def connect(self) -> None:
        """Open the connection; blocks for at most 5 s for TCP and 5 s for TLS."""
        self._drop()
        client = self._new_client()
        self._client = client
        trial = self._dialect.has_fallback
        self._welcome_until_s = self._monotonic_s() + _ANSWER_S
        self._reached = False
        try:
            self._dialect.connect(
                client,
                self._settings.host,
                self._settings.port,
                self._settings.keepalive_s,
                self._longest_bytes,
            )
        except ssl.SSLCertVerificationError as error:
            self._lose(f"its certificate does not fit: {error.verify_message}")
        except (OSError, ValueError) as error:
            self._lose(getattr(error, "strerror", None) or str(error) or "no answer")
        else:
            wires.disable_nagle(client.socket())
            self._reached = True
            self._welcome_until_s = self._monotonic_s() + (_TRIAL_S if trial else _ANSWER_S)

    def subscribe(self, pattern: str) -> None:
        """Ask for what is published under ``pattern``, with quality of service 1."""
        if self._client is not None:
            self._client.subscribe(pattern, min(1, self._granted.qos))

    def publish(self, message: Message) -> int:
        """Hand a message over, within the broker's limits; 0 when it cannot be taken now."""
        if self._client is None:
            return 0
        told = self._client.publish(
            message.topic,
            message.payload,
            min(message.qos, self._granted.qos),
            message.retain and self._granted.retain,
            wires.message_expiry(message, self._client.protocol),
        )
        return 0 if told.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE else told.mid

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        """Wait and tell. Returns early when a descriptor in ``also`` can be read."""
        client = self._client
        wire = client.socket() if client is not None else None
        if client is None or wire is None:
            if not self._inbox:
                select.select(also, (), (), longest_s)
        else:
            # paho looks at its own clock for keep-alive; it is asked often enough.
            wait_s = 0.0 if self._inbox else longest_s
            writing = (wire,) if client.want_write() else ()
            readable, writable, _ = select.select((wire, *also), writing, (), wait_s)
            self._turn(client, reads=wire in readable, writes=bool(writable))
        return self._inbox.drain()

    def close(self) -> None:
        """Say goodbye, so that no last will is published."""
        if self._client is not None and self._client.is_connected():
            self._client.on_disconnect = None
            self._client.disconnect()
        self._drop()

    def _turn(self, client: paho.Client, *, reads: bool, writes: bool) -> None:
        try:
            if writes:
                client.loop_write()
            if reads:
                client.loop_read()
                wires.enable_quick_ack(client.socket())
                # TLS may hold decrypted bytes that select does not see.
                while wires.has_pending_data(client.socket()):
                    client.loop_read()
            client.loop_misc()
        except Exception as error:  # noqa: BLE001 - paho raises whatever its parser trips over
            self._lose(f"it does not speak MQTT ({type(error).__name__})")
            return
        if self._client is client and client.socket() is None:
            self._lose("it closed the connection")
        waiting = self._welcome_until_s is not None
        if waiting and self._monotonic_s() > (self._welcome_until_s or 0.0):
            self._lose("it does not answer")

    def _new_client(self) -> paho.Client:
        client = self._dialect.new_client(self._client_id)
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
        self._inbox.listen(client)
        return client

    def _on_connect(
        self,
        client: paho.Client,
        _data: object,
        _flags: object,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._welcome_until_s = None
        if code.value >= FAILURE:
            if code.value == _RETAIN_NOT_SUPPORTED:
                self._granted = replace(self._granted, retain=False)
            elif code.value == _QOS_NOT_SUPPORTED:
                self._granted = replace(self._granted, qos=0)
            elif code.value == _UNSUPPORTED_VERSION:
                self._dialect.fall_back()
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
            self._lose(f"it takes only {receives} messages at a time: connecting anew")
            return
        self._inbox.add(ConnectedEvent(self._granted, "5" if self._dialect.is_v5 else "3.1.1"))

    def _on_disconnect(
        self, client: object, _d: object, flags: paho.DisconnectFlags, code: ReasonCode, _p: object
    ) -> None:
        if client is not self._client:
            return
        if flags.is_disconnect_packet_from_server:
            self._lose(str(code), code.value)
        else:
            self._lose("the connection broke")

    def _lose(self, reason: str, code: int | None = None) -> None:
        if self._client is None:
            return
        if self._welcome_until_s is None:
            if code != _UNSUPPORTED_VERSION:
                self._dialect.start_over()
        elif self._reached:
            # Somebody took the call and did not welcome us: some brokers hang up on a version
            # they do not know. The other version is tried next, and this one again after it.
            self._dialect.fall_back()
        self._drop()
        self._inbox.add(ConnectionLostEvent(reason, code))

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._welcome_until_s = None
        if client is not None:
            client.on_disconnect = None
            if (wire := client.socket()) is not None:
                wire.close()
