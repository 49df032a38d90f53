"""MQTT discovery for Home Assistant: one retained message a device (since version 2024.11).

The messages hold no audio, no transcript and no owner's name: Home Assistant keeps states for days,
and all of its users can read them.

``earmark household announce`` publishes them, not the speakers: a discovery message may hold
templates that Home Assistant evaluates on all of its states, so a compromised speaker must not be
able to write any. Only `announce` uses the network; the rest is pure.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, get_args

import msgspec
from msgspec import Meta

import listener
from listener.config import ShortName
from listener.errors import Unavailable
from listener.household import broker_config, identity
from listener.household.broker_failures import CHECK_BROKER, raise_on_failure
from listener.household.registry import Speaker
from listener.ipc.notices import MOST_THRESHOLDS, CommandEnd, Score
from listener.mqtt import topics
from listener.mqtt.client import (
    IN_FLIGHT,
    Broker,
    ConnectedEvent,
    DeliveredEvent,
    Message,
)

_log = logging.getLogger(__name__)

NODE: Final = "earmark-"
"""Prefix of the node level in discovery topics."""
CLIENT_ID: Final = identity.HOUSEHOLD.cn
PATIENCE_S: Final = 15.0
"""Timeout for the broker, in seconds."""
QUIET_S: Final = 1.0
"""Seconds without a message after which all retained ones are assumed received."""

_THRESHOLD: Final = "threshold-"
"""Prefix of the entities that set the threshold of one word."""

Component = Mapping[str, Any]
Version = Annotated[str, Meta(pattern=r"^[0-9A-Za-z.+~-]{1,40}\Z")]

# Each template has to accept the last will, which has no field but `state`. A field that is absent
# is not known, for example after a restart of send: its state is unknown, never off or 0.
_MUTE: Final = "value_json.mute | default('unknown')"
_MICROPHONE: Final = "value_json.microphone | default('unknown')"
_IS_CLOSED: Final = (
    f"value_json.hearing is defined and not value_json.hearing"
    f" or ({_MUTE}) not in ['open', 'unknown'] or ({_MICROPHONE}) not in ['open', 'unknown']"
)
_IS_OPEN: Final = (
    f"value_json.hearing is defined and value_json.hearing"
    f" and ({_MUTE}) == 'open' and ({_MICROPHONE}) == 'open'"
)
_IS_FAULTY: Final = f"({_MUTE}) == 'fault' or ({_MICROPHONE}) not in ['open', 'unknown']"
_IS_SOUND: Final = f"({_MUTE}) != 'unknown' and ({_MICROPHONE}) == 'open'"
_NO_THRESHOLDS: Final = "value_json.thresholds | default({})"
_ALL_WORDS: Final = "All words"
_MUTED_BY: Final = ("open", "hardware", "software", "fault")
_NOT_STORED: Final = ("nothing", "owner", "device", "unavailable", "other")
_EVENTS: Final = ("wake", "near_miss", "mute")

_COUNTERS: Final = {
    "wakes": "Wakes",
    "near_misses": "Near misses",
    "sealed": "Clips sealed",
    "unattributed": "Wakes without an owner",
    "abandoned": "Clips abandoned",
    "lost": "Clips lost before the spool",
}
_ATTRIBUTION: Final = {
    "guests": "Voices of guests",
    "unsure": "Uncertain voices",
    "bystanders": "Clips with another voice",
}
_SPOOL: Final = {
    "erased": "Clips erased on arrival",
    "dropped": "Clips dropped",
    "quarantined": "Clips quarantined",
}


class SpeakerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts that a speaker reports about itself, needed for its discovery message."""

    version: Version | None = None
    """Version of Earmark that it runs."""
    words: tuple[ShortName, ...] = ()
    """Wake words that it detects, sorted."""
    compares_voices: bool = False
    """Whether it attributes clips by voice, and counts voices without an owner."""


UNKNOWN_FACTS: Final = SpeakerFacts()


class _Installed(msgspec.Struct, frozen=True):
    installed: Version | None = None


class _StatusFacts(msgspec.Struct, frozen=True):
    """The part of a status that a discovery message needs. The speaker writes it: it is checked."""

    version: _Installed = _Installed()
    thresholds: Annotated[dict[ShortName, Score], Meta(max_length=MOST_THRESHOLDS)] = {}
    attribution: dict[str, object] = {}


class _AnnouncedDevice(msgspec.Struct, frozen=True):
    sw_version: Version | None = None


class _AnnouncedFacts(msgspec.Struct, frozen=True):
    """The part of a discovery message that came from the speaker's status."""

    device: _AnnouncedDevice = _AnnouncedDevice()
    components: dict[str, object] = {}


def parse_status_facts(payload: bytes) -> SpeakerFacts:
    """Return the facts in a status; a status that does not fit has none."""
    try:
        status = msgspec.json.decode(payload, type=_StatusFacts)
    except (msgspec.DecodeError, RecursionError):
        return UNKNOWN_FACTS
    return SpeakerFacts(
        version=status.version.installed,
        words=tuple(sorted(status.thresholds)),
        compares_voices=bool(status.attribution),
    )


def parse_announced_facts(payload: bytes) -> SpeakerFacts:
    """Return the facts in an earlier discovery message, for a speaker that is offline now."""
    try:
        announced = msgspec.json.decode(payload, type=_AnnouncedFacts)
        words = msgspec.convert(
            sorted(
                name.removeprefix(_THRESHOLD)
                for name in announced.components
                if name.startswith(_THRESHOLD)
            ),
            Annotated[tuple[ShortName, ...], Meta(max_length=MOST_THRESHOLDS)],
        )
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return UNKNOWN_FACTS
    return SpeakerFacts(
        version=announced.device.sw_version,
        words=words,
        compares_voices=_ATTRIBUTION.keys() <= announced.components.keys(),
    )


def discovery_message(
    speaker: Speaker,
    dkey: str,
    facts: SpeakerFacts = UNKNOWN_FACTS,
    *,
    has_assist: bool = False,
) -> Message:
    """Return the discovery message of a device.

    Args:
        speaker: its entry in the registry.
        dkey: fingerprint of the key with which it signs envelopes.
        facts: what the speaker reports about itself.
        has_assist: whether the household has assist, which speaks announcements.
    """
    payload = discovery_payload(speaker, dkey, facts, has_assist=has_assist)
    return Message(
        topics.DISCOVERY.name(node=NODE + speaker.name),
        msgspec.json.encode(payload, order="sorted"),
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


def discovery_payload(
    speaker: Speaker,
    dkey: str,
    facts: SpeakerFacts = UNKNOWN_FACTS,
    *,
    has_assist: bool = False,
) -> dict[str, Any]:
    """Return the JSON of a discovery message; arguments as `discovery_message`."""
    node = NODE + speaker.name
    status = topics.STATUS.name(device=speaker.name)
    device: dict[str, Any] = {
        "identifiers": [node],
        "manufacturer": "Earmark",
        "model": "Wake-word listener",
        # Some versions put the area before the name and others do not, so the name alone has to
        # tell speakers apart. `default_entity_id` gives the same entity ids in all of them.
        "name": f"Earmark {speaker.name}",
        "serial_number": dkey,
    }
    if speaker.area is not None:
        device["suggested_area"] = speaker.area
    if facts.version is not None:
        device["sw_version"] = facts.version
    entities = _states() | _numbers()
    entities |= {"wake": _events(speaker), "command": _commands(speaker)}
    entities |= {"mute": _mute(speaker), "update": _update()}
    entities |= _false_wakes(speaker) | _sensitivity(speaker, facts.words)
    if facts.compares_voices:
        entities |= _attribution()
    if has_assist:
        entities["announce"] = _announcements(speaker)
    components = {
        name: {
            "unique_id": f"{node}-{name}",
            "default_entity_id": _entity_id(speaker, entity),
            **entity,
        }
        for name, entity in entities.items()
    }
    return {
        "device": device,
        "origin": {"name": "Earmark", "sw_version": listener.__version__},
        # The last message of these counts. While the bridge of a home's own broker is not
        # connected, the states that this broker retains may be old. A household without a bridge
        # has no message on the second topic.
        "availability": [
            {"topic": status, "value_template": "{{ value_json.state | default('offline') }}"},
            {
                "topic": broker_config.BRIDGE_STATE,
                "value_template": "{{ 'offline' if value == '0' else '' }}",
            },
        ],
        "availability_mode": "latest",
        "state_topic": status,
        "qos": 1,
        "components": components | _device_triggers(speaker),
    }


def announce(
    broker: Broker | Sequence[Broker],
    message: Callable[[str, SpeakerFacts], Message],
    devices: Iterable[str],
    monotonic_s: Callable[[], float] = time.monotonic,
) -> tuple[int, int]:
    """Publish discovery messages and remove those of devices that are not among them.

    Args:
        broker: its client, not connected yet; or those of several brokers, each of which gets all
            messages. Closed afterwards.
        message: returns the discovery message of a device, of its name and the facts that its
            retained status holds. For a device that is offline these are the facts of its earlier
            discovery message.
        devices: names of the devices to publish.
        monotonic_s: a monotonic clock.

    Returns:
        How many messages were published, new or changed, and how many were removed; of several
        brokers, the most of one.

    Raises:
        Unavailable: there is no connection, or the broker denies access.
    """
    brokers = broker if isinstance(broker, Sequence) else (broker,)
    try:
        read = [(one, _read_or_skip(one, monotonic_s, skips=len(brokers) > 1)) for one in brokers]
        answering = [(one, each) for one, each in read if each is not None]
        if not answering:
            raise Unavailable("no broker answers", CHECK_BROKER)
        retained = [each for _, each in answering]
        # A speaker's status is at the broker that it uses.
        status = {device: text for each in retained for device, text in each.status.items()}
        online = {
            device: text
            for each in retained
            for device, text in each.status.items()
            if parse_status_facts(text).version
        }
        counts = [
            _announce_at(one, each, status | online, message, devices, monotonic_s)
            for one, each in answering
        ]
    finally:
        for one in brokers:
            one.close()
    return max(fresh for fresh, _ in counts), max(stale for _, stale in counts)


def _read_or_skip(
    broker: Broker, monotonic_s: Callable[[], float], *, skips: bool
) -> "_RetainedMessages | None":
    """Connect and read what is retained; None for a broker of several that does not answer."""
    try:
        broker.connect()
        return _read_retained(broker, monotonic_s)
    except Unavailable as error:
        if not skips:
            raise
        _log.warning("%s; run the command again when it answers", error)
        return None


def _announce_at(  # noqa: PLR0913, PLR0917 - what was read and what is to be published, once
    broker: Broker,
    retained: "_RetainedMessages",
    status: Mapping[str, bytes],
    message: Callable[[str, SpeakerFacts], Message],
    devices: Iterable[str],
    monotonic_s: Callable[[], float],
) -> tuple[int, int]:
    known = _RetainedMessages(retained.discovery, dict(status))
    messages = {NODE + device: message(device, _facts(known, device)) for device in devices}
    fresh = [
        message
        for node, message in messages.items()
        if retained.discovery.get(node) != message.payload
    ]
    stale = [
        removal_message(node)
        for node in retained.discovery
        if node.startswith(NODE) and node not in messages
    ]
    _publish(broker, [*fresh, *stale], monotonic_s)
    return len(fresh), len(stale)


@dataclass(frozen=True, slots=True)
class _RetainedMessages:
    """Retained payloads: discovery by node, status by device."""

    discovery: dict[str, bytes] = field(default_factory=dict)
    status: dict[str, bytes] = field(default_factory=dict)


def _facts(retained: _RetainedMessages, device: str) -> SpeakerFacts:
    """Return each fact from the status, else from the earlier discovery message."""
    now = parse_status_facts(retained.status.get(device, b""))
    before = parse_announced_facts(retained.discovery.get(NODE + device, b""))
    return SpeakerFacts(
        version=now.version or before.version,
        words=now.words or before.words,
        # A status without counts may be of a speaker that has just started.
        compares_voices=now.compares_voices or (not now.words and before.compares_voices),
    )


def _entity_id(speaker: Speaker, component: Component) -> str:
    """Return the entity id that Home Assistant makes of the device's and the entity's name."""
    words = f"earmark {speaker.name} {component['name']}".lower()
    return f"{component['platform']}.{'_'.join(words.replace('-', ' ').split())}"


def _events(speaker: Speaker) -> Component:
    # The topic may carry more kinds than these; Home Assistant ignores a value that renders empty.
    kinds = ", ".join(f"'{kind}'" for kind in _EVENTS)
    event = (
        "{'event_type': value_json.event_type, 'word': value_json.word | default(''),"
        " 'state': value_json.state | default('')}"
    )
    return {
        "platform": "event",
        "name": "Wake word",
        "icon": "mdi:account-voice",
        "event_types": list(_EVENTS),
        "state_topic": topics.EVENT.name(device=speaker.name),
        "value_template": f"{{% if value_json.event_type in [{kinds}] %}}"
        f"{{{{ {event} | tojson }}}}{{% endif %}}",
    }


def _commands(speaker: Speaker) -> Component:
    """Return the entity with the outcome of each spoken command, and nothing of its words."""
    is_command = "value_json.event_type == 'command' and value_json.outcome is defined"
    return {
        "platform": "event",
        "name": "Command",
        "icon": "mdi:account-voice",
        "event_types": list(get_args(CommandEnd)),
        "state_topic": topics.EVENT.name(device=speaker.name),
        "value_template": f"{{% if {is_command} %}}"
        "{{ {'event_type': value_json.outcome} | tojson }}{% endif %}",
    }


def _announcements(speaker: Speaker) -> Component:
    """Return the entity whose messages are spoken at the speaker.

    It has no state but the time of the last message. It is of no category, so that an action for a
    whole area reaches it; Assist exposes no entity of its kind.
    """
    return {
        "platform": "notify",
        "name": "Announce",
        "icon": "mdi:bullhorn",
        "command_topic": topics.ANNOUNCE.name(device=speaker.name),
        "qos": topics.ANNOUNCE.qos,
        "retain": topics.ANNOUNCE.retain,
    }


def _device_triggers(speaker: Speaker) -> dict[str, Component]:
    """Return triggers that the automation editor offers for the device."""

    def trigger(event_type: str, shown: str, kind: str) -> Component:
        return {
            "platform": "device_automation",
            "automation_type": "trigger",
            "type": kind,
            "subtype": shown,
            "topic": topics.EVENT.name(device=speaker.name),
            "value_template": "{{ value_json.event_type }}",
            "payload": event_type,
        }

    return {
        "wake-trigger": trigger("wake", "wake word", "detected"),
        "near-miss-trigger": trigger("near_miss", "near miss", "detected"),
        "mute-trigger": trigger("mute", "mute", "changed"),
        "command-trigger": trigger("command", "command", "ended"),
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
        "value_template": _on_off(f"({_MUTE}) not in ['open', 'unknown']", f"({_MUTE}) == 'open'"),
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
    def state(name: str, on: str, off: str, **more: str) -> Component:
        return {
            "platform": "binary_sensor",
            "name": name,
            "entity_category": "diagnostic",
            "value_template": _on_off(on, off),
            **more,
        }

    return {
        "muted-by": {
            "platform": "sensor",
            "name": "Muted by",
            "icon": "mdi:microphone-off",
            "entity_category": "diagnostic",
            "device_class": "enum",
            "options": list(_MUTED_BY),
            "value_template": f"{{{{ ({_MUTE}) if ({_MUTE}) != 'unknown' else none }}}}",
        },
        "hardware-mute": state(
            "Hardware mute",
            f"({_MUTE}) == 'hardware'",
            # Without a hardware switch the state is unknown, not off. A fault comes before the
            # switch, and does not tell where it is.
            f"({_MUTE}) in ['open', 'software']"
            " and (value_json.switch | default('none')) != 'none'",
            icon="mdi:microphone-off",
        ),
        "microphone": state("Microphone open", _IS_OPEN, _IS_CLOSED, device_class="running"),
        "fault": state("Fault", _IS_FAULTY, _IS_SOUND, device_class="problem"),
    }


def _attribution() -> dict[str, Component]:
    """Return sensors of the voices without an owner."""
    return {
        name: _number(
            text, f"(value_json.attribution | default({{}})).{name}", state_class="total_increasing"
        )
        for name, text in _ATTRIBUTION.items()
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
        "not-stored": {
            "platform": "sensor",
            "name": "Clips not stored because of",
            "icon": "mdi:archive-alert",
            "entity_category": "diagnostic",
            "device_class": "enum",
            "options": list(_NOT_STORED),
            # A reason of a later version is shown as "other". The last will does not know.
            "value_template": "{{ (value_json.not_stored"
            f" if value_json.not_stored in {list(_NOT_STORED)} else 'other')"
            " if value_json.not_stored is defined"
            " else 'nothing' if value_json.waiting is defined else none }}",
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
    for key, name in {"losses": "Microphone losses", "overruns": "Overruns"}.items():
        numbers[key] = _number(name, f"value_json.{key}", state_class="total_increasing")
    numbers["inference-p99"] = _number(
        "Inference p99", "value_json.p99_ms", unit_of_measurement="ms", icon="mdi:timer-outline"
    )
    numbers["processor"] = _number(
        "Processor use", "value_json.cpu_percent", unit_of_measurement="%", icon="mdi:chip"
    )
    numbers["temperature"] = _number(
        "Temperature",
        "value_json.temperature_c",
        unit_of_measurement="°C",
        device_class="temperature",
    )
    return numbers


def _number(name: str, value: str, state_class: str = "measurement", **more: str) -> Component:
    return {
        "platform": "sensor",
        "name": name,
        "entity_category": "diagnostic",
        "state_class": state_class,
        "value_template": f"{{{{ {value} | default(none) }}}}",
        **more,
    }


def _false_wakes(speaker: Speaker) -> dict[str, Component]:
    """Return the button that marks the last wake as false, and the rate with its interval."""
    rate = "(value_json.false_wakes | default({}))"
    per_hour: dict[str, str] = {"unit_of_measurement": "/h", "icon": "mdi:account-voice-off"}
    return {
        "false-wake": {
            "platform": "button",
            "name": "Last wake was false",
            "icon": "mdi:account-voice-off",
            "entity_category": "config",
            "command_topic": topics.COMMAND.name(device=speaker.name),
            "payload_press": "false-wake",
            "retain": False,
        },
        "false-wakes": _number("False wakes", f"{rate}.marked", state_class="total"),
        "false-wake-rate": _number("False wake rate", f"{rate}.per_hour", **per_hour),
        "false-wake-rate-low": _number("False wake rate low", f"{rate}.low", **per_hour),
        "false-wake-rate-high": _number("False wake rate high", f"{rate}.high", **per_hour),
    }


def _sensitivity(speaker: Speaker, words: tuple[str, ...]) -> dict[str, Component]:
    """Return a number for the threshold of each word, and a choice of the word if there are some.

    The category keeps them out of Assist: the sensitivity is not changed by voice.
    """
    command: Component = {
        "entity_category": "config",
        "command_topic": topics.COMMAND.name(device=speaker.name),
        "retain": False,
    }
    entities: dict[str, Component] = {
        f"{_THRESHOLD}{word}": {
            "platform": "number",
            "name": f"Threshold of {word}",
            "icon": "mdi:tune",
            "min": 0.01,
            "max": 0.99,
            "step": 0.01,
            "mode": "box",
            "command_template": f"threshold:{word}:{{{{ value }}}}",
            "value_template": f"{{{{ ({_NO_THRESHOLDS}).get('{word}') }}}}",
            **command,
        }
        for word in words
    }
    if len(words) > 1:
        everything = f"'{_ALL_WORDS}' if ({_NO_THRESHOLDS}) else none"
        entities["word"] = {
            "platform": "select",
            "name": "Wake word to detect",
            "icon": "mdi:account-voice",
            "options": [_ALL_WORDS, *words],
            "command_template": (
                f"word:{{{{ '{topics.ALL_WORDS}' if value == '{_ALL_WORDS}' else value }}}}"
            ),
            "value_template": f"{{{{ value_json.only | default({everything}) }}}}",
            **command,
        }
    return entities


def _on_off(on: str, off: str) -> str:
    """Return a template: ON, OFF, or unknown where neither condition holds."""
    return f"{{{{ 'ON' if {on} else 'OFF' if {off} else none }}}}"


def _read_retained(broker: Broker, monotonic_s: Callable[[], float]) -> _RetainedMessages:
    retained = _RetainedMessages()
    connected = False
    until_s = monotonic_s() + PATIENCE_S
    while (left_s := until_s - monotonic_s()) > 0:
        for event in broker.poll(left_s):
            match event:
                case ConnectedEvent():
                    broker.subscribe(topics.DISCOVERY.topic_filter())
                    broker.subscribe(topics.STATUS.topic_filter())
                    connected = True
                    until_s = monotonic_s() + QUIET_S
                case Message(topic=topic, payload=payload):
                    levels = topics.DISCOVERY.levels(topic)
                    if levels is not None and payload:
                        retained.discovery[levels["node"]] = payload
                    levels = topics.STATUS.levels(topic)
                    if levels is not None:
                        retained.status[levels["device"]] = payload
                    until_s = monotonic_s() + QUIET_S
                case _:
                    raise_on_failure(event)
    if not connected:
        raise Unavailable("the broker does not answer", CHECK_BROKER)
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
                raise_on_failure(event)
