"""Tell Home Assistant, through the broker, which speakers there are. What is gone is taken back.

The household does it, and not the speakers: a discovery message may hold templates that Home
Assistant runs on all of its states, and a speaker that somebody took over must not write any.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from listener.errors import Unavailable
from listener.household import discovery, identity
from listener.mqtt import topics
from listener.mqtt.client import (
    IN_FLIGHT,
    Broker,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    DeniedEvent,
    Message,
    RejectedEvent,
)

CLIENT_ID: Final = identity.HOUSEHOLD.cn
PATIENCE_S: Final = 15.0
QUIET_S: Final = 1.0
"""Retained messages come right after the subscription; after so long without one, that was all."""


def announce(
    broker: Broker,
    messages: Mapping[str, Message],
    monotonic_s: Callable[[], float] = time.monotonic,
) -> tuple[int, int]:
    """Make the retained messages these and no others.

    Args:
        broker: its client, not connected yet.
        messages: each device's by its level of the topic.
        monotonic_s: a clock that never jumps.

    Returns:
        How many were published, new or changed, and how many were taken back.

    Raises:
        Unavailable: there is no connection, or the broker does not let us.
    """
    broker.connect()
    try:
        held = _read_retained(broker, monotonic_s)
        fresh = [message for node, message in messages.items() if held.get(node) != message.payload]
        stale = [
            discovery.removal_message(node)
            for node in held
            if node.startswith(discovery.NODE) and node not in messages
        ]
        _publish(broker, [*fresh, *stale], monotonic_s)
    finally:
        broker.close()
    return len(fresh), len(stale)


def _read_retained(broker: Broker, monotonic_s: Callable[[], float]) -> dict[str, bytes]:
    """Return what the broker keeps, by the level of the topic."""
    held: dict[str, bytes] = {}
    connected = False
    until_s = monotonic_s() + PATIENCE_S
    while (left_s := until_s - monotonic_s()) > 0:
        for happening in broker.poll(left_s):
            match happening:
                case ConnectedEvent():
                    broker.subscribe(topics.DISCOVERY.topic_filter())
                    connected = True
                    until_s = monotonic_s() + QUIET_S
                case Message(topic=topic, payload=payload):
                    levels = topics.DISCOVERY.levels(topic)
                    if levels is not None and payload:
                        held[levels["node"]] = payload
                    until_s = monotonic_s() + QUIET_S
                case _:
                    _unavailable(happening)
    if not connected:
        raise Unavailable("the broker does not answer", "does mosquitto run with our files?")
    return held


def _publish(broker: Broker, messages: list[Message], monotonic_s: Callable[[], float]) -> None:
    left = messages[::-1]
    waiting: set[int] = set()
    until_s = monotonic_s() + PATIENCE_S
    while left or waiting:
        while left and len(waiting) < IN_FLIGHT:
            waiting.add(broker.publish(left.pop()))
        if monotonic_s() > until_s:
            raise Unavailable("the broker takes nothing", "is there room on its disk?")
        for happening in broker.poll(PATIENCE_S):
            if isinstance(happening, DeliveredEvent):
                waiting.discard(happening.ticket)
            else:
                _unavailable(happening)


def _unavailable(happening: object) -> None:
    match happening:
        case ConnectionLostEvent(reason=reason):
            raise Unavailable(
                f"no connection to the broker: {reason}", "does mosquitto run with our files?"
            )
        case DeniedEvent(reason=reason) | RejectedEvent(reason=reason):
            raise Unavailable(
                f"the broker does not let us: {reason}", "let it read its files again"
            )
        case _:
            pass
