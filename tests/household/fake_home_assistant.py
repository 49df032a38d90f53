"""Home Assistant's rules for a device discovery message and for rendering a state.

Encoded from its documentation and `homeassistant/components/mqtt` (schemas of 2024.11 and later,
`event.py`, `sensor.py`, `button.py`, `switch.py`): unknown keys are refused here, though Home
Assistant ignores some of them.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import jinja2

_SHARED: Final = {
    *("platform", "unique_id", "name", "icon", "entity_category", "device_class"),
    "default_entity_id",  # ignored before 2025.10
}
_TOPICS: Final = {"state_topic", "command_topic", "value_template", "retain", "qos"}
_KEYS: Final[Mapping[str, set[str]]] = {
    "binary_sensor": _SHARED | {"state_topic", "value_template", "payload_on", "payload_off"},
    "sensor": _SHARED
    | {"state_topic", "value_template", "unit_of_measurement", "state_class", "options"}
    | {"suggested_display_precision"},
    "number": _SHARED
    | {"state_topic", "value_template", "command_topic", "command_template", "retain"}
    | {"min", "max", "step", "mode"},
    "select": _SHARED
    | {"state_topic", "value_template", "command_topic", "command_template", "retain", "options"},
    "device_automation": {
        *("platform", "automation_type", "type", "subtype", "topic", "value_template", "payload"),
    },
    "event": _SHARED | {"state_topic", "value_template", "event_types"},
    "notify": _SHARED | {"command_topic", "command_template", "retain", "qos"},
    "button": (_SHARED | {"command_topic", "payload_press", "retain"}),
    "update": _SHARED
    | {"state_topic", "value_template", "latest_version_topic", "latest_version_template"}
    | {"command_topic", "payload_install", "retain", "title", "release_summary", "release_url"},
    "switch": _SHARED | _TOPICS | {"payload_on", "payload_off", "state_on", "state_off"},
}
_REQUIRED: Final[Mapping[str, set[str]]] = {
    "event": {"state_topic", "event_types"},
    "button": {"command_topic"},
    "notify": {"command_topic"},
    "switch": {"command_topic"},
    "number": {"command_topic"},
    "select": {"command_topic", "options"},
    "device_automation": {"automation_type", "type", "subtype", "topic"},
}
_CLASSES: Final = {
    "binary_sensor": {"running", "problem"},
    "update": {"firmware"},
    "sensor": {"enum", "temperature", "duration"},
}
_STATE_CLASSES: Final = {"measurement", "total", "total_increasing"}
_CATEGORIES: Final = {"config", "diagnostic"}
_READ_ONLY: Final = {"sensor", "binary_sensor"}
_DEVICE: Final = {
    *("identifiers", "connections", "name", "manufacturer", "model", "sw_version", "hw_version"),
    *("serial_number", "suggested_area", "configuration_url", "via_device"),
}
_TOP: Final = {
    *("device", "origin", "components", "availability", "availability_mode", "state_topic"),
    *("command_topic", "qos", "encoding", "payload_available", "payload_not_available"),
}
_OBJECT_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
LONGEST_STATE: Final = 255


def check(topic: str, payload: bytes) -> dict[str, Any]:
    """Return a discovery message's content; fail where Home Assistant would refuse it."""
    prefix, kind, node, last = topic.split("/")
    assert (prefix, kind, last) == ("homeassistant", "device", "config")
    assert _OBJECT_ID.fullmatch(node)
    message: dict[str, Any] = json.loads(payload)
    assert message.keys() <= _TOP
    assert message.keys() >= {"device", "origin", "components"}
    assert message["device"].keys() <= _DEVICE
    assert message["device"].get("identifiers") or message["device"].get("connections")
    assert all(isinstance(value, str | list) for value in message["device"].values())
    assert isinstance(message["origin"]["name"], str)
    assert message.get("qos") in {None, 0, 1, 2}
    for entry in message.get("availability", []):
        assert entry.keys() <= {"topic", "value_template", "payload_available"}
        _subscribable(entry["topic"])
    for name, component in message["components"].items():
        assert _OBJECT_ID.fullmatch(name)
        _check_component(component, message)
    ids = [
        component["unique_id"]
        for component in message["components"].values()
        if component["platform"] != "device_automation"
    ]
    assert len(set(ids)) == len(ids)
    return message


def _check_component(component: dict[str, Any], message: dict[str, Any]) -> None:
    platform = component["platform"]
    # What is shared stands at the top; a component's own counts before it.
    whole: dict[str, Any] = {
        key: message[key] for key in ("state_topic", "command_topic") if key in message
    }
    whole |= component
    assert component.keys() <= _KEYS[platform], component
    assert whole.keys() >= _REQUIRED.get(platform, {"state_topic"})
    if platform != "device_automation":
        assert component["unique_id"]
        assert component["default_entity_id"].startswith(f"{platform}.")
    assert component.get("entity_category") in {None, *_CATEGORIES}
    if platform in _READ_ONLY:
        # Home Assistant refuses sensors of the category config.
        assert component.get("entity_category") != "config"
    assert component.get("device_class") in {None, *_CLASSES.get(platform, set())}
    assert component.get("state_class") in {None, *_STATE_CLASSES}
    assert component.get("icon", "mdi:x").startswith("mdi:")
    # Home Assistant wants options exactly where the class is enum, and then no state class.
    if platform == "sensor":
        assert ("options" in component) == (component.get("device_class") == "enum")
        assert not {"options", "state_class"} <= component.keys()
    if platform == "event":
        assert component["event_types"]
    if "value_template" in component:
        jinja2.Environment(autoescape=False).parse(component["value_template"])  # noqa: S701 - no web page
    for key in ("state_topic", "command_topic", "topic"):
        if key in component:
            _subscribable(component[key])
            assert not set(component[key]) & set("+#")


def update_state(template: str, payload: bytes) -> dict[str, Any] | None:
    """Return what an update entity makes of a message, or None where it is left as it is.

    As `homeassistant/components/mqtt/update.py` reads it: JSON with these keys and no others.
    """
    rendered = render(template, payload)
    if not rendered or rendered == "{}":
        return None
    message: dict[str, Any] = json.loads(rendered)
    kinds = {
        **dict.fromkeys(("installed_version", "latest_version", "title", "release_summary"), str),
        "release_url": str,
        "entity_picture": str,
        "in_progress": bool,
        "update_percentage": int,
    }
    assert message.keys() <= kinds.keys()
    assert all(isinstance(value, kinds[key]) for key, value in message.items())
    assert len(message.get("release_summary", "")) <= LONGEST_STATE
    return message


def _subscribable(topic: str) -> None:
    assert topic
    assert "\0" not in topic
    assert len(topic.encode()) <= 65535


def render_command(template: str, value: object) -> str:
    """Return the payload that a number or select sends."""
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)  # noqa: S701 - no web page
    return environment.from_string(template).render(value=value)


def render(template: str, payload: bytes) -> str:
    """Return the state that a template makes of a message; undefined names fail."""
    environment = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined)  # noqa: S701 - no web page
    environment.filters["tojson"] = lambda value: json.dumps(value, sort_keys=True)
    return environment.from_string(template).render(
        value=payload.decode(), value_json=json.loads(payload)
    )
