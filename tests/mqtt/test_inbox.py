"""What happened is told once and in its order; what paho makes of bytes is in test_client.py."""

from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from listener.mqtt.broker import ConnectionLostEvent, DeliveredEvent, RejectedEvent
from listener.mqtt.inbox import EventQueue


@pytest.fixture
def client() -> paho.Client:
    return paho.Client(CallbackAPIVersion.VERSION2, "d-hall")


def receipt(client: paho.Client, ticket: int, code: int) -> None:
    """Call back as paho does when a receipt has come."""
    told: Any = client.on_publish  # paho's own type for it is of two versions at once
    told(client, None, ticket, ReasonCode(PacketTypes.PUBACK, identifier=code), None)


def test_what_happened_is_told_once_in_its_order(client: paho.Client) -> None:
    inbox = EventQueue()
    inbox.listen(client)
    assert not inbox

    receipt(client, 1, 0)
    inbox.add(ConnectionLostEvent("the connection broke"))

    assert inbox
    assert inbox.drain() == [DeliveredEvent(1), ConnectionLostEvent("the connection broke")]
    assert inbox.drain() == []


@pytest.mark.parametrize(("code", "is_taken"), [(0x00, True), (0x10, True), (0x80, False)])
def test_a_reason_from_failure_on_is_a_rejection(
    client: paho.Client, code: int, *, is_taken: bool
) -> None:
    inbox = EventQueue()
    inbox.listen(client)

    receipt(client, 7, code)

    (told,) = inbox.drain()
    assert isinstance(told, DeliveredEvent if is_taken else RejectedEvent)
    assert (told.ticket, told.code) == (7, code)
