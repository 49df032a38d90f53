"""What Home Assistant is told of a speaker: one retained message a device, from 2024.11 on. Pure.

Nothing here is sound, what was said, or a person's name. Home Assistant keeps each state for days,
and everyone who uses it can read them.

Tell Home Assistant, through the broker, which speakers there are. What is gone is taken back.

The household does it, and not the speakers: a discovery message may hold templates that Home
Assistant runs on all of its states, and a speaker that somebody took over must not write any.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

import listener
from listener.errors import Unavailable
from listener.household import identity
from listener.household.registry import Speaker
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

NODE: Final = "earmark-"

Component = Mapping[str, Any]

# Each template stands the last will, in which every field but `state` is missing.
_MUTE: Final = "value_json.mute | default('open')"
_NO_SWITCH: Final = "(value_json.switch | default('none')) == 'none'"
_MICROPHONE: Final = "value_json.microphone | default('open')"
_HEARING: Final = "value_json.hearing | default(false)"
_NO_THRESHOLDS: Final = "value_json.thresholds | default({})"
_EVENTS: Final = ("wake", "near_miss")

_COUNTERS: Final = {
    "wakes": "Wakes",
    "near_misses": "Near misses",
    "sealed": "Clips sealed",
    "unattributed": "Wakes without an owner",
    "abandoned": "Clips abandoned",
    "lost": "Clips lost before the spool",
}
_SPOOL: Final = {
    "dropped": "Clips dropped",
    "quarantined": "Clips set aside",
}


def discovery_message(speaker: Speaker, dkey: str) -> Message:
    """Return the message that shows a device.

    Args:
        speaker: what the household noted of it.
        dkey: the fingerprint of the key it signs with.
    """
    return Message(
        topics.DISCOVERY.name(node=NODE + speaker.name),
        msgspec.json.encode(discovery_payload(speaker, dkey), order="sorted"),
        topics.DISCOVERY.qos,
        topics.DISCOVERY.retain,
    )


def removal_message(node: str) -> Message:
    """Return the message that makes Home Assistant forget a device, by its level of the topic."""
    return Message(
        topics.DISCOVERY.name(node=node), b"", topics.DISCOVERY.qos, topics.DISCOVERY.retain
    )


def discovery_payload(speaker: Speaker, dkey: str) -> dict[str, Any]:
    """Return what the message says."""
    node = NODE + speaker.name
    status = topics.STATUS.name(device=speaker.name)
    device: dict[str, Any] = {
        "identifiers": [node],
        "manufacturer": "Earmark",
        "model": "Wake-word listener",
        # Where an area is known, Home Assistant puts it before this by itself.
        "name": "Earmark" if speaker.area else f"Earmark {speaker.name}",
        "serial_number": dkey,
    }
    if speaker.area is not None:
        device["suggested_area"] = speaker.area
    shown = _states() | _numbers()
    shown |= {"wake": _events(speaker), "mute": _mute(speaker), "update": _update()}
    return {
        "device": device,
        "origin": {"name": "Earmark", "sw_version": listener.__version__},
        "availability": [
            {"topic": status, "value_template": "{{ value_json.state | default('offline') }}"}
        ],
        "state_topic": status,
        "qos": 1,
        "components": {
            name: {"unique_id": f"{node}-{name}", **component} for name, component in shown.items()
        },
    }


def _events(speaker: Speaker) -> Component:
    # The topic carries more kinds than these; what renders to nothing is left out in silence.
    kinds = ", ".join(f"'{kind}'" for kind in _EVENTS)
    told = "{'event_type': value_json.event_type, 'word': value_json.word | default('')}"
    return {
        "platform": "event",
        "name": "Wake word",
        "icon": "mdi:account-voice",
        "event_types": list(_EVENTS),
        "state_topic": topics.EVENT.name(device=speaker.name),
        "value_template": f"{{% if value_json.event_type in [{kinds}] %}}"
        f"{{{{ {told} | tojson }}}}{{% endif %}}",
    }


def _mute(speaker: Speaker) -> Component:
    """Return a switch where unmuting from afar is allowed, and a button where it is not.

    The category keeps it out of Assist: nobody can unmute by voice.
    """
    command: Component = {
        "name": "Mute",
        "icon": "mdi:microphone-off",
        "entity_category": "config",
        "command_topic": topics.COMMAND.name(device=speaker.name),
        "retain": False,
    }
    if not speaker.remote_unmute:
        return {"platform": "button", "payload_press": "mute", **command}
    return {
        "platform": "switch",
        "payload_on": "mute",
        "payload_off": "unmute",
        "state_on": "ON",
        "state_off": "OFF",
        "value_template": _on_off(f"({_MUTE}) != 'open'"),
        **command,
    }


def _update() -> Component:
    """Return what shows a speaker's version. There is no command: nobody updates by a message."""
    told = ", ".join(
        f"'{name}': {value}"
        for name, value in {
            "installed_version": "value_json.version.installed",
            "latest_version": "value_json.version.latest",
            "in_progress": "value_json.version.in_progress | default(false)",
            "release_summary": "value_json.version.summary | default('')",
            "title": "'Earmark'",
        }.items()
    )
    return {
        "platform": "update",
        "name": "Version",
        "device_class": "firmware",
        "entity_category": "diagnostic",
        # What renders to nothing changes nothing: the last will says nothing of versions.
        "value_template": "{% if value_json.version is defined %}{{ {"
        + told
        + "} | tojson }}{% endif %}",
    }


def _states() -> dict[str, Component]:
    def state(name: str, condition: str, **more: str) -> Component:
        return {
            "platform": "binary_sensor",
            "name": name,
            "entity_category": "diagnostic",
            "value_template": _on_off(condition),
            **more,
        }

    return {
        "hardware-mute": state(
            "Hardware mute",
            f"({_MUTE}) == 'hardware'",
            icon="mdi:microphone-off",
            # Where none is fitted there is nothing that could be off: unknown, and never "off".
            value_template=f"{{{{ none if {_NO_SWITCH} else"
            f" 'ON' if ({_MUTE}) == 'hardware' else 'OFF' }}}}",
        ),
        "microphone": state(
            "Microphone open",
            f"({_HEARING}) and ({_MUTE}) == 'open' and ({_MICROPHONE}) == 'open'",
            device_class="running",
        ),
        "fault": state(
            "Fault",
            f"({_MUTE}) == 'fault' or ({_MICROPHONE}) != 'open'",
            device_class="problem",
        ),
    }


def _numbers() -> dict[str, Component]:
    """Return counters and health. What is not told is unknown: a 0 would look like a restart."""
    found: dict[str, Component] = {
        "threshold": {
            "platform": "sensor",
            "name": "Threshold",
            "icon": "mdi:tune",
            "entity_category": "diagnostic",
            "value_template": f"{{{{ ({_NO_THRESHOLDS}).items() | map('join', ' ') | join(', ')"
            f" if ({_NO_THRESHOLDS}) else none }}}}",
        },
        "waiting": _number("Clips waiting", "value_json.waiting", state_class="measurement"),
    }
    for key, name in _COUNTERS.items():
        found[key.replace("_", "-")] = _number(
            name, f"(value_json.counters | default({{}})).{key}", state_class="total_increasing"
        )
    for key, name in _SPOOL.items():
        found[key] = _number(
            name, f"(value_json.spool | default({{}})).{key}", state_class="total_increasing"
        )
    # Left out of a status while they are 0.
    for key, name in {"losses": "Microphone losses", "overruns": "Overruns"}.items():
        found[key] = _number(
            name,
            f"(value_json.{key} | default(0) if value_json.state == 'online' else none)",
            state_class="total_increasing",
        )
    return found


def _number(name: str, value: str, state_class: str) -> Component:
    return {
        "platform": "sensor",
        "name": name,
        "entity_category": "diagnostic",
        "state_class": state_class,
        "value_template": f"{{{{ {value} | default(none) }}}}",
    }


def _on_off(condition: str) -> str:
    return f"{{{{ 'ON' if {condition} else 'OFF' }}}}"


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
            removal_message(node) for node in held if node.startswith(NODE) and node not in messages
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
