"""What paho calls back with, as happenings, until somebody asks."""

from collections import deque
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from listener.mqtt.broker import BrokerEvent, DeliveredEvent, DeniedEvent, Message, RejectedEvent

FAILURE: Final = 0x80
"""Reason codes from here on say no."""


class EventQueue:
    """What happened and was not told yet, in its order. For one thread."""

    def __init__(self) -> None:
        self._happened: deque[BrokerEvent] = deque()

    def __bool__(self) -> bool:
        return bool(self._happened)

    def listen(self, client: paho.Client) -> None:
        """Have a client tell of receipts, subscriptions and messages."""
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    def add(self, happening: BrokerEvent) -> None:
        """Put something in that paho has no word for."""
        self._happened.append(happening)

    def drain(self) -> list[BrokerEvent]:
        """Return all of it, and keep nothing."""
        happened = list(self._happened)
        self._happened.clear()
        return happened

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
        self._happened.extend(DeniedEvent(str(code)) for code in codes if code.value >= FAILURE)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self.add(Message(topic, bytes(message.payload), message.qos, message.retain))
