"""MQTT discovery for Home Assistant: one retained message a device (since version 2024.11).

The messages hold no audio, no transcript and no owner's name: Home Assistant keeps states for days,
and all of its users can read them.

``earmark household announce`` publishes them, not the speakers: a discovery message may hold
templates that Home Assistant evaluates on all of its states, so a compromised speaker must not be
able to write any. Only `announce` uses the network; the rest is pure.
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
"""Prefix of the node level in discovery topics."""
CLIENT_ID: Final = identity.HOUSEHOLD.cn
PATIENCE_S: Final = 15.0
"""Timeout for the broker, in seconds."""
QUIET_S: Final = 1.0
"""Seconds without a message after which all retained ones are assumed received."""

Component = Mapping[str, Any]

# Each template has to accept the last will, which has no field but `state`.
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
    "erased": "Clips erased on arrival",
    "dropped": "Clips dropped",
    "quarantined": "Clips quarantined",
}
_CHECK_BROKER: Final = (
    "check that mosquitto runs with the household's configuration: systemctl status mosquitto"
)


def discovery_message(speaker: Speaker, dkey: str) -> Message:
    """Return the discovery message of a device.

    Args:
        speaker: its entry in the registry.
        dkey: fingerprint of the key with which it signs envelopes.
    """
    return Message(
        topics.DISCOVERY.name(node=NODE + speaker.name),
        msgspec.json.encode(discovery_payload(speaker, dkey), order="sorted"),
        topics.DISCOVERY.qos,
        topics.DISCOVERY.retain,
    )


def removal_message(node: str) -> Message:
    """Return the empty message that removes a device from Home Assistant.

    Args:
        node: the device's level of the discovery topic.
    """
    return Message(
        topics.DISCOVERY.name(node=node), b"", topics.DISCOVERY.qos, topics.DISCOVERY.retain
    )


def discovery_payload(speaker: Speaker, dkey: str) -> dict[str, Any]:
    """Return the JSON of a discovery message; arguments as `discovery_message`."""
    node = NODE + speaker.name
    status = topics.STATUS.name(device=speaker.name)
    device: dict[str, Any] = {
        "identifiers": [node],
        "manufacturer": "Earmark",
        "model": "Wake-word listener",
        # Home Assistant itself puts the area, where one is known, before the name.
        "name": "Earmark" if speaker.area else f"Earmark {speaker.name}",
        "serial_number": dkey,
    }
    if speaker.area is not None:
        device["suggested_area"] = speaker.area
    components = _states() | _numbers()
    components |= {"wake": _events(speaker), "mute": _mute(speaker), "update": _update()}
    return {
        "device": device,
        "origin": {"name": "Earmark", "sw_version": listener.__version__},
        "availability": [
            {"topic": status, "value_template": "{{ value_json.state | default('offline') }}"}
        ],
        "state_topic": status,
        "qos": 1,
        "components": {
            name: {"unique_id": f"{node}-{name}", **component}
            for name, component in components.items()
        },
    }


def announce(
    broker: Broker,
    messages: Mapping[str, Message],
    monotonic_s: Callable[[], float] = time.monotonic,
) -> tuple[int, int]:
    """Publish discovery messages and remove those of devices that are not among them.

    Args:
        broker: its client, not connected yet; closed afterwards.
        messages: the message of each device, by its level of the topic.
        monotonic_s: a monotonic clock.

    Returns:
        How many messages were published, new or changed, and how many were removed.

    Raises:
        Unavailable: there is no connection, or the broker denies access.
    """
    broker.connect()
    try:
        retained = _read_retained(broker, monotonic_s)
        fresh = [
            message for node, message in messages.items() if retained.get(node) != message.payload
        ]
        stale = [
            removal_message(node)
            for node in retained
            if node.startswith(NODE) and node not in messages
        ]
        _publish(broker, [*fresh, *stale], monotonic_s)
    finally:
        broker.close()
    return len(fresh), len(stale)


def _events(speaker: Speaker) -> Component:
    # The topic carries more kinds than these; Home Assistant ignores a value that renders empty.
    kinds = ", ".join(f"'{kind}'" for kind in _EVENTS)
    event = "{'event_type': value_json.event_type, 'word': value_json.word | default('')}"
    return {
        "platform": "event",
        "name": "Wake word",
        "icon": "mdi:account-voice",
        "event_types": list(_EVENTS),
        "state_topic": topics.EVENT.name(device=speaker.name),
        "value_template": f"{{% if value_json.event_type in [{kinds}] %}}"
        f"{{{{ {event} | tojson }}}}{{% endif %}}",
    }


def _mute(speaker: Speaker) -> Component:
    """Return a switch where remote unmuting is allowed, and a button where it is not.

    The category keeps it out of Assist, so that the speaker cannot be unmuted by voice.
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
    """Return the version entity. It has no command: updates are not installed over MQTT."""
    fields = ", ".join(
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
        # An empty value leaves the state as it is: the last will has no version.
        "value_template": "{% if value_json.version is defined %}{{ {"
        + fields
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
            # Without a hardware switch the state is unknown, not off.
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
    """Return sensors of counters and health.

    A field that is missing renders as unknown: a 0 would look like a restart.
    """
    numbers: dict[str, Component] = {
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
        numbers[key.replace("_", "-")] = _number(
            name, f"(value_json.counters | default({{}})).{key}", state_class="total_increasing"
        )
    for key, name in _SPOOL.items():
        numbers[key] = _number(
            name, f"(value_json.spool | default({{}})).{key}", state_class="total_increasing"
        )
    # A status omits these while they are 0.
    for key, name in {"losses": "Microphone losses", "overruns": "Overruns"}.items():
        numbers[key] = _number(
            name,
            f"(value_json.{key} | default(0) if value_json.state == 'online' else none)",
            state_class="total_increasing",
        )
    return numbers


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


def _read_retained(broker: Broker, monotonic_s: Callable[[], float]) -> dict[str, bytes]:
    """Return the retained discovery payloads by the node level of their topic."""
    retained: dict[str, bytes] = {}
    connected = False
    until_s = monotonic_s() + PATIENCE_S
    while (left_s := until_s - monotonic_s()) > 0:
        for event in broker.poll(left_s):
            match event:
                case ConnectedEvent():
                    broker.subscribe(topics.DISCOVERY.topic_filter())
                    connected = True
                    until_s = monotonic_s() + QUIET_S
                case Message(topic=topic, payload=payload):
                    levels = topics.DISCOVERY.levels(topic)
                    if levels is not None and payload:
                        retained[levels["node"]] = payload
                    until_s = monotonic_s() + QUIET_S
                case _:
                    _raise_on_failure(event)
    if not connected:
        raise Unavailable("the broker does not answer", _CHECK_BROKER)
    return retained


def _publish(broker: Broker, messages: list[Message], monotonic_s: Callable[[], float]) -> None:
    queue = messages[::-1]
    in_flight: set[int] = set()
    until_s = monotonic_s() + PATIENCE_S
    while queue or in_flight:
        while queue and len(in_flight) < IN_FLIGHT:
            in_flight.add(broker.publish(queue.pop()))
        if monotonic_s() > until_s:
            raise Unavailable(
                "the broker does not acknowledge the messages", "check its disk space: df -h"
            )
        for event in broker.poll(PATIENCE_S):
            if isinstance(event, DeliveredEvent):
                in_flight.discard(event.ticket)
            else:
                _raise_on_failure(event)


def _raise_on_failure(event: object) -> None:
    match event:
        case ConnectionLostEvent(reason=reason):
            raise Unavailable(f"no connection to the broker: {reason}", _CHECK_BROKER)
        case DeniedEvent(reason=reason) | RejectedEvent(reason=reason):
            raise Unavailable(
                f"the broker denied access: {reason}",
                "reload mosquitto to apply the new access list: systemctl reload mosquitto",
            )
        case _:
            pass
