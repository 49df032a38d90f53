"""Scenes of voice control: a spoken command switches the light of its room, once.

The recognised text is a fake's. Wake, clip, sealing, assist, Home Assistant and lights are real.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from listener import config
from listener.envelope import keys
from listener.envelope.open import parse_identities
from listener.household import identity
from listener.mqtt.client import ConnectedEvent, DeliveredEvent, Message
from listener.mqtt.paho_client import PahoBroker
from listener.mqtt.paho_thread import stop_network_thread
from listener.storage.home import Home as DataFolder
from listener.voice.consent import Consent, encode_consents, make_consent
from tests.assist import fake_wyoming
from tests.assist.fake_wyoming import FakeWyoming
from tests.home_assistant.home import OWNER, House
from tests.system.conftest import wait_until

Say = Callable[[str], object]

_TEXT: Final = "Alexa, turn on the lights."
_PATIENCE_S: Final = 120.0


def carry_out_commands(house: House, say: Say) -> None:
    """The same words from two rooms switch the light of each room; restarts repeat nothing."""
    for name in house.speakers:
        _add_light(house, name)
    _start_assist_config(house)
    for name in house.speakers:
        _allow(house, name)
    fake = FakeWyoming()
    fake.answer = [{"type": "transcript", "data": {"text": _TEXT}}]
    with fake_wyoming.running(fake), _switched(house) as switched:
        _write_configuration(house, fake.port)
        house.hub.start("assist")
        for name in house.speakers:
            wait_until(lambda: switched[name] > 0, f"the {name}'s light", _PATIENCE_S)  # noqa: B023 - used at once
            wait_until(lambda: _outcome(house, name) == "done", "the outcome", _PATIENCE_S)  # noqa: B023 - as above
            say(f'"turn on the lights" in the {name}: its light is on, Command shows done')
        for process in ("assist", "send"):
            _restart(house, process)
            before = dict(switched)
            wait_until(
                lambda: all(switched[name] > before[name] for name in house.speakers),  # noqa: B023 - as above
                f"both lights after a restart of {process}",
                _PATIENCE_S,
            )
            say(f"{process} killed and started again: the next command in each room is carried out")
        house.hub.kill("assist")
        wakes = {name: int(house.state(name, "wakes") or 0) for name in house.speakers}
        counted = {name: switched[name] for name in house.speakers}
        # The number of wakes arrives with the counters, a minute late at most.
        wait_until(
            lambda: all(int(house.state(name, "wakes") or 0) >= wakes[name] for name in wakes),
            "counters",
        )
        time.sleep(10)
        assert counted == switched, "nothing is carried out after assist has ended"
        done = house.hub.said("assist")
        assert "lights" not in done.lower()
    say("after assist has ended, no light is switched; its log has no text")


def _restart(house: House, process: str) -> None:
    if process == "assist":
        house.hub.kill("assist")
        house.hub.start("assist")
        return
    for speaker in house.speakers.values():
        speaker.earmark.kill(process)
        speaker.earmark.start(process)


def _outcome(house: House, speaker: str) -> object:
    row = house.entities(speaker).get("command")
    found = None if row is None else house.assistant.state(row["entity_id"])
    return None if found is None else found["attributes"].get("event_type")


def _add_light(house: House, room: str) -> None:
    """Add an MQTT light to the home's own broker, and put it into its area."""
    light = {
        "name": f"Lamp {room}",
        "unique_id": f"lamp-{room}",
        "command_topic": f"lamp/{room}/set",
        "optimistic": True,
    }
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", house.own.port)
    client.loop_start()
    topic = f"homeassistant/light/lamp-{room}/config"
    client.publish(topic, json.dumps(light), qos=1, retain=True).wait_for_publish(60)
    stop_network_thread(client)
    entity = f"light.lamp_{room}"
    wait_until(lambda: house.assistant.state(entity), f"{entity} appears", _PATIENCE_S)
    area = house.devices()[room]["area_id"]
    house.assistant.call("config/entity_registry/update", entity_id=entity, area_id=area)


@contextmanager
def _switched(house: House) -> Iterator[dict[str, int]]:
    """Count how often each room's light is told to go on; it goes off after each time."""
    counts = dict.fromkeys(house.speakers, 0)
    lock = threading.Lock()

    def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        if message.payload == b"ON":
            with lock:
                counts[message.topic.split("/")[1]] += 1

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.connect("127.0.0.1", house.own.port)
    client.subscribe("lamp/+/set", 1)
    client.loop_start()
    try:
        yield counts
    finally:
        client.disconnect()
        stop_network_thread(client)


def _start_assist_config(house: House) -> None:
    """Create assist's identity, and introduce the owner to the hub."""
    house.run("household", "add-service", "assist", "--to", str(house.folder / "assist"))
    hub = DataFolder(house.folder / "hub")
    house.introduce(hub)


def _write_configuration(house: House, port: int) -> None:
    """Give the hub's commands the configuration of assist."""
    files = house.folder / "assist"
    token = house.folder / "token"
    token.write_text(house.assistant.token)
    token.chmod(0o600)
    groups = "".join(f'{name} = ["{name}"]\n' for name in house.speakers)
    (house.folder / "hub.toml").write_text(
        f'[broker]\nhost = "localhost"\nport = {house.household.port}\n'
        f'ca_file = "{files}/ca.crt"\ncertificate_file = "{files}/s-assist.crt"\n'
        f'key_file = "{files}/s-assist.key"\n'
        f'[assist]\nurl = "{house.assistant.url}"\ntoken_file = "{token}"\n'
        f'recogniser = "wyoming"\nwyoming_port = {port}\nvoice = "none"\n'
        f"[assist.groups]\n{groups}"
    )


def _allow(house: House, name: str) -> None:
    """Publish the owner's consent for a speaker, as the archive does."""
    hub, speaker = DataFolder(house.folder / "hub"), DataFolder(house.folder / name)
    (owner,) = parse_identities(house.owner_key.encode(), "the owner's")
    consent = Consent(
        assist=keys.device_text(hub.assist_key().public_key()),
        device=name,
        n=1,
        okey=owner.okey,
        on=1,
        owner=OWNER,
    )
    made = make_consent(consent, owner.agreement(), speaker.device_key().public_key())
    issued = house.folder / "hub" / "household" / "issued"
    broker = PahoBroker(
        config.BrokerSettings(
            host="localhost",
            port=house.household.port,
            ca_file=str(issued.parent / "ca.crt"),
            certificate_file=str(issued / "s-archive.crt"),
            key_file=str(issued / "s-archive.key"),
        ),
        identity.ARCHIVE.cn,
    )
    message = Message(f"earmark/v1/consents/{name}", encode_consents([made]), 1, retain=True)
    broker.connect()
    is_delivered = False
    try:
        while not is_delivered:
            for event in broker.poll(1.0):
                if isinstance(event, ConnectedEvent):
                    broker.publish(message)
                is_delivered = is_delivered or isinstance(event, DeliveredEvent)
    finally:
        broker.close()
    stored = house.folder / name / "spool" / "consents.json"
    wait_until(stored.exists, f"the {name} has the consent", _PATIENCE_S)
