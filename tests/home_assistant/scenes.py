"""Scenes: what a household does with Home Assistant, and what must hold after it.

A scene is a function of the home and of `say`, which prints a line for the engineering log. It
fails with an AssertionError. The order matters: a scene starts with what the one before left. A
part of Earmark adds its scenes to `SCENES`.
"""

import json
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from listener.mqtt.paho_thread import stop_network_thread
from tests.home_assistant.disturbance_scenes import disturb_commands
from tests.home_assistant.home import ROOT, House
from tests.home_assistant.voice_scenes import (
    announce_texts,
    carry_out_commands,
    play_replies,
    ring_timers,
)
from tests.system.conftest import wait_until

Say = Callable[[str], object]
Scene = Callable[[House, Say], None]

_BLUEPRINTS: Final = ROOT / "docs" / "guides" / "home-assistant-blueprints"
_STATES: Final = ("microphone", "muted-by", "hardware-mute", "fault", "threshold", "wakes")
_LISTENING: Final = {"microphone": "on", "muted_by": "open", "fault": "off"}


def connect_by_certificate(house: House, say: Say) -> None:
    """Fill in the MQTT dialog of Home Assistant with the three files of add-service."""
    house.household.start_with(house.broker_files)
    for speaker in house.speakers.values():
        speaker.start()
    say(f"announce: {house.run('household', 'announce').strip()}")
    files = house.folder / "certificates"
    upload = house.assistant.upload
    values = {
        "broker": "localhost",
        "port": house.household.port,
        "advanced_options": True,
        "set_client_cert": True,
        "set_ca_cert": "custom",
        "protocol": "5",
        "certificate": upload(files / "ca.crt"),
        "client_cert": upload(files / "s-home-assistant.crt"),
        "client_key": upload(files / "s-home-assistant.key"),
    }
    pages = house.assistant.set_up("mqtt", values, is_advanced=True)
    for number, page in enumerate(pages, 1):
        say(f"page {number} of the MQTT dialog: {', '.join(page)}")
    wait_until(lambda: len(house.devices()) == 2, "both speakers appear")
    for name in house.speakers:
        house.wait_for(name, **_LISTENING)
    say("both speakers appear, and their microphones are open")
    house.assistant.remove("mqtt")
    wait_until(lambda: not house.devices(), "the speakers are gone with the entry")


def connect_by_bridge(house: House, say: Say) -> None:
    """Connect Home Assistant to the home's own broker, which has a bridge and a light."""
    house.own.start(*(house.folder / "bridge.conf").read_text().splitlines())
    _publish(house, "homeassistant/light/lamp/config", json.dumps(_LAMP).encode())
    values = {"broker": "127.0.0.1", "port": house.own.port}
    house.assistant.set_up("mqtt", values | {"set_client_cert": False, "set_ca_cert": "off"})
    wait_until(lambda: len(house.devices()) == 2, "both speakers appear through the bridge")
    for name in house.speakers:
        house.wait_for(name, **_LISTENING)
    wait_until(lambda: house.assistant.state("light.lamp"), "the light appears beside them")
    say("both speakers and an MQTT light of the home's own broker appear")


_LAMP: Final = {
    "name": "Lamp",
    "unique_id": "lamp",
    "command_topic": "lamp/set",
    "state_topic": "lamp/state",
    "optimistic": True,
}


def appear_with_area_and_entities(house: House, say: Say) -> None:
    """Each speaker is one device with its own name, area, version and entities."""
    # The version is in the status by now.
    house.run("household", "announce")
    areas = {
        row["area_id"]: row["name"] for row in house.assistant.call("config/area_registry/list")
    }
    wait_until(
        lambda: all(row["sw_version"] for row in house.devices().values()), "versions appear"
    )
    devices = house.devices()
    for name, speaker in house.speakers.items():
        row = devices[name]
        assert areas[row["area_id"]] == speaker.area
        assert row["name"] == f"Earmark {name}"
        entities = house.entities(name)
        ids = [entry["entity_id"] for entry in entities.values()]
        assert all(f".earmark_{name}_" in entity for entity in ids), ids
        states = {part: house.state(name, part) for part in _STATES}
        say(
            f"{row['name']}: area {areas[row['area_id']]}, version {row['sw_version']},"
            f" {len(entities)} entities, such as {entities['microphone']['entity_id']}"
        )
        assert states["hardware-mute"] == "unknown", "no switch is fitted"
        say("  " + ", ".join(f"{part} {state}" for part, state in states.items()))


def report_wakes(house: House, say: Say) -> None:
    """A wake in the room reaches the event entity of that speaker, and its device triggers."""
    for name in house.speakers:
        entity = house.entities(name)["wake"]["entity_id"]
        before = house.assistant.state(entity)
        wait_until(lambda: house.assistant.state(entity) != before, "a wake", 120)  # noqa: B023 - used at once
        after = house.assistant.state(entity)
        assert after is not None
        assert after["attributes"]["event_type"] == "wake"
        say(f"{entity}: {after['attributes']['event_type']} of {after['attributes']['word']}")
        offered = house.assistant.call(
            "device_automation/trigger/list", device_id=house.devices()[name]["id"]
        )
        triggers = [(one["type"], one["subtype"]) for one in offered if one["domain"] == "mqtt"]
        assert ("detected", "wake word") in triggers, offered
        say(f"  triggers of the device: {', '.join(' '.join(reversed(one)) for one in triggers)}")


def keep_mute_out_of_assist(house: House, say: Say) -> None:
    """No entity of a speaker is exposed to Assist, so none can be operated by voice."""
    exposed = house.assistant.call("homeassistant/expose_entity/list")["exposed_entities"]
    rows = [row["entity_id"] for name in house.speakers for row in house.entities(name).values()]
    shown = [entity for entity in rows if exposed.get(entity, {}).get("conversation")]
    assert not shown, shown
    assert exposed.get("light.lamp", {}).get("conversation"), "the light is exposed"
    say(f"exposed to Assist: the light, and 0 of {len(rows)} entities of the speakers")


def mute_from_home_assistant(house: House, say: Say) -> None:
    """The button mutes, the sensor names the cause, and a message cannot unmute."""
    entity = house.entities("kitchen")["mute"]["entity_id"]
    house.assistant.act("button", "press", entity_id=entity)
    house.wait_for("kitchen", microphone="off", muted_by="software")
    event = house.assistant.state(house.entities("kitchen")["wake"]["entity_id"])
    assert event is not None
    assert event["attributes"]["event_type"] == "mute"
    assert event["attributes"]["state"] == "software"
    house.assistant.act("mqtt", "publish", topic="earmark/v1/command/kitchen", payload="unmute")
    done = house.speakers["kitchen"].earmark.run("mute", "status")
    assert "software" in done.stdout, done.stdout
    assert house.state("bedroom", "muted-by") == "open"
    say("pressed Mute of the kitchen: muted by software; an unmute by message is ignored")


def change_the_sensitivity(house: House, say: Say) -> None:
    """The threshold is raised and restored; a value below the configured one changes nothing."""
    entity = house.entities("kitchen")["threshold-alexa"]["entity_id"]
    configured = house.state("kitchen", "threshold-alexa")
    assert configured == "0.5"

    def is_set(to: str) -> bool:
        return house.state("kitchen", "threshold-alexa") == to

    house.assistant.act("number", "set_value", entity_id=entity, value=0.97)
    wait_until(lambda: is_set("0.97"), "the threshold is raised")
    house.assistant.act("number", "set_value", entity_id=entity, value=0.2)
    house.assistant.act("number", "set_value", entity_id=entity, value=0.96)
    wait_until(lambda: is_set("0.96"), "the next value arrives, and the low one did not")
    house.assistant.act("number", "set_value", entity_id=entity, value=0.5)
    wait_until(lambda: is_set("0.5"), "the threshold is restored")
    assert house.state("bedroom", "threshold-alexa") == "0.5"
    said = house.speakers["kitchen"].earmark.said("hear")
    assert "a request for the sensitivity was ignored" in said
    say(f"{entity}: 0.5, set to 0.97, 0.2 (ignored), 0.96 and 0.5")


def mark_a_false_wake(house: House, say: Say) -> None:
    """The button counts the last wake as false, once."""
    rows = house.entities("bedroom")
    wake = rows["wake"]["entity_id"]
    before = house.assistant.state(wake)
    wait_until(lambda: house.assistant.state(wake) != before, "a wake", 120)
    for _ in range(2):
        house.assistant.act("button", "press", entity_id=rows["false-wake"]["entity_id"])
    wait_until(lambda: house.state("bedroom", "false-wakes") == "1", "it is counted")
    assert house.state("kitchen", "false-wakes") == "0"
    say("pressed twice after a wake in the bedroom: False wakes is 1 there, and 0 in the kitchen")
    say(f"False wake rate: {house.state('bedroom', 'false-wake-rate')} before the first hour")


def run_blueprints_and_examples(house: House, say: Say) -> None:
    """The documented blueprints and automations are valid, and do what they say."""
    assistant = house.assistant
    folder = assistant.folder / "blueprints" / "automation" / "earmark"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("light-at-wake.yaml", "closed-microphone.yaml"):
        shutil.copy(_BLUEPRINTS / name, folder)
    listed = assistant.call("blueprint/list", domain="automation")
    for name in ("light-at-wake.yaml", "closed-microphone.yaml"):
        assert "error" not in listed[f"earmark/{name}"], listed
    rows = house.entities("bedroom")
    uses = (
        _use(
            "light-at-wake", wake_word=rows["wake"], light={"entity_id": "light.lamp"}, duration=2
        ),
        _use(
            "closed-microphone",
            microphone=rows["microphone"],
            muted_by=rows["muted-by"],
            duration=0,
        ),
    )
    # JSON is YAML; the list of examples goes on.
    text = (_BLUEPRINTS / "examples.yaml").read_text("utf-8")
    text += "".join(f"- {json.dumps(use)}\n" for use in uses)
    (assistant.folder / "automations.yaml").write_text(text)
    assistant.act("light", "turn_off", entity_id="light.lamp")
    assistant.act("automation", "reload")
    for name in ("light_at_wake", "closed_microphone", "less_sensitive_at_night"):
        wait_until(partial(_is_on, house, f"automation.{name}"), f"automation.{name} is valid")
    wait_until(lambda: _is_on(house, "light.lamp"), "the light goes on at a wake", 120)
    wait_until(lambda: not _is_on(house, "light.lamp"), "and off again")
    say("light-at-wake: a wake in the bedroom turned the lamp on, and 2 s later off")

    assistant.act("automation", "trigger", entity_id="automation.less_sensitive_at_night")
    wait_until(lambda: house.state("kitchen", "threshold-alexa") == "0.8", "it is less sensitive")
    say("Less sensitive at night: the kitchen's threshold became 0.8")

    guests = "automation.mute_every_speaker_when_guests_arrive"
    assistant.act("automation", "trigger", entity_id=guests)
    for name in house.speakers:
        house.wait_for(name, microphone="off", muted_by="software")
    shown: list[str] = []

    def is_shown() -> bool:
        shown[:] = [one["message"] for one in assistant.call("persistent_notification/get")]
        return any("muted by: software" in message for message in shown)

    wait_until(is_shown, "the notification")
    say("Mute every speaker: both are muted; closed-microphone shows: " + shown[0])
    for speaker in house.speakers.values():
        assert speaker.earmark.run("mute", "off").returncode == 0
    for name in house.speakers:
        house.wait_for(name, **_LISTENING)
    (assistant.folder / "automations.yaml").write_text("[]\n")
    assistant.act("automation", "reload")


def _use(blueprint: str, **inputs: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON of many shapes
    """Return an automation that uses a blueprint; a row of the registry stands for its entity."""
    values = {
        name: value["entity_id"] if isinstance(value, dict) and "unique_id" in value else value
        for name, value in inputs.items()
    }
    use = {"path": f"earmark/{blueprint}.yaml", "input": values}
    return {"id": blueprint, "alias": blueprint.replace("-", " "), "use_blueprint": use}


def _is_on(house: House, entity: str) -> bool:
    found = house.assistant.state(entity)
    return found is not None and found["state"] == "on"


def survive_restarts(house: House, say: Say) -> None:
    """Each process is killed and started again: the states become right, or unknown before."""
    kitchen = house.speakers["kitchen"].earmark
    muted = {"microphone": "off", "muted_by": "software"}

    kitchen.kill("send")
    house.wait_for("kitchen", microphone="unavailable")
    kitchen.start("send")
    house.wait_for("kitchen", **muted)
    say("send of the kitchen killed while muted: unavailable, then muted by software")

    assert kitchen.run("mute", "off").returncode == 0
    house.wait_for("kitchen", **_LISTENING)
    kitchen.kill("send")
    house.wait_for("kitchen", microphone="unavailable")
    kitchen.start("send")
    seen = _watch(house, "kitchen", "microphone", until="on")
    assert "off" not in seen, seen
    say(f"send killed while hear listens: {' -> '.join(seen)}, never off")

    kitchen.kill("hear")
    house.wait_for("kitchen", microphone="unknown", muted_by="unknown")
    kitchen.start("hear", "--json")
    house.wait_for("kitchen", **_LISTENING)
    say("hear killed: unknown, then open")
    kitchen.kill("hear", signal.SIGTERM)
    house.wait_for("kitchen", microphone="off")
    kitchen.start("hear", "--json")
    house.wait_for("kitchen", **_LISTENING)
    say("hear stopped: off, then open")

    house.household.kill()
    house.wait_for("bedroom", microphone="unavailable")
    house.restart_household()
    for name in house.speakers:
        house.wait_for(name, **_LISTENING)
    say("the household's broker killed, with all that it retained: unavailable, then open")

    house.own.kill()
    house.wait_for("bedroom", microphone="unavailable")
    _start_own(house)
    # What this broker retained is lost; the household's broker sends it through the bridge again.
    for name in house.speakers:
        house.wait_for(name, **_LISTENING)
    say("the home's own broker killed: unavailable, then open")

    house.assistant.stop()
    took_s = house.assistant.start()
    for name in house.speakers:
        house.wait_for(name, **_LISTENING)
    say(f"Home Assistant restarted: it answers after {took_s:.0f} s, and the microphones are open")


def show_no_old_state(house: House, say: Say) -> None:
    """Home Assistant starts while the bridge is not connected: no retained state passes as new."""
    house.assistant.stop()
    house.household.kill()
    wait_until(lambda: _retained(house, "earmark/bridge") == b"0", "the bridge is down")
    assert b"online" in _retained(house, "earmark/v1/status/kitchen")
    house.assistant.start()
    for name in house.speakers:
        house.wait_for(name, microphone="unavailable")
    house.restart_household()
    for name in house.speakers:
        house.wait_for(name, **_LISTENING)
    say("started without the household's broker: unavailable, though the last state is retained")


def check_the_log(house: House, say: Say) -> None:
    """Home Assistant has no warning about the speakers' messages."""
    bad = [
        line
        for line in house.assistant.log().splitlines()
        if "mqtt" in line.lower() and ("WARNING" in line or "ERROR" in line) and _is_ours(line)
    ]
    assert not bad, "\n".join(bad)
    say("no warning about a message or template in Home Assistant's log")


SCENES: Final[Mapping[str, Scene]] = {
    "connect-by-certificate": connect_by_certificate,
    "connect-by-bridge": connect_by_bridge,
    "appear": appear_with_area_and_entities,
    "wakes": report_wakes,
    "assist": keep_mute_out_of_assist,
    "commands": carry_out_commands,
    "replies": play_replies,
    "timers": ring_timers,
    "announcements": announce_texts,
    "disturbances": disturb_commands,
    "sensitivity": change_the_sensitivity,
    "false-wake": mark_a_false_wake,
    "automations": run_blueprints_and_examples,
    "mute": mute_from_home_assistant,
    "restarts": survive_restarts,
    "old-state": show_no_old_state,
    "log": check_the_log,
}


def _is_ours(line: str) -> bool:
    # A broker that was killed is reported as such.
    return "earmark" in line.lower() or "template" in line.lower()


def _watch(house: House, speaker: str, part: str, until: str) -> list[str]:
    """Return the states of an entity, each once, until one of them is reached."""
    seen: list[str] = []
    entity = house.entities(speaker)[part]["entity_id"]

    def is_reached() -> bool:
        found = house.assistant.state(entity)
        state = str(found["state"]) if found else "none"
        if not seen or seen[-1] != state:
            seen.append(state)
        return state == until

    wait_until(is_reached, f"{entity} is {until}: {seen}", 120)
    return seen


def _start_own(house: House) -> None:
    house.own.start(*(house.folder / "bridge.conf").read_text().splitlines())
    _publish(house, "homeassistant/light/lamp/config", json.dumps(_LAMP).encode())


def _publish(house: House, topic: str, payload: bytes) -> None:
    """Publish a retained message on the home's own broker."""
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", house.own.port)
    client.loop_start()
    client.publish(topic, payload, qos=1, retain=True).wait_for_publish(60)
    stop_network_thread(client)


def _retained(house: House, topic: str) -> bytes:
    """Return what the home's own broker retains on a topic; empty without a message in 1 s."""
    found: list[bytes] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: found.append(bytes(message.payload))
    client.connect("127.0.0.1", house.own.port)
    client.subscribe(topic, 1)
    client.loop_start()
    until_s = time.monotonic() + 1
    while not found and time.monotonic() < until_s:
        time.sleep(0.02)
    stop_network_thread(client)
    return found[0] if found else b""
