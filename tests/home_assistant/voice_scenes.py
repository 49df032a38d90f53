"""Scenes of voice control: commands, replies, timers and announcements.

The recognised text is a fake's. Wake, clip, sealing, assist, Home Assistant and lights are real.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from listener import config
from listener.assist.service import ANNOUNCE_S
from listener.assist.speech import (
    GATE_TAIL_S,
    RING_VOLUME,
    ProgramVoice,
    ReplySound,
    speak,
)
from listener.audio.tones import synthesize_ring
from listener.envelope import keys
from listener.envelope.open import parse_identities
from listener.household import identity
from listener.mqtt.client import ConnectedEvent, DeliveredEvent, Message
from listener.mqtt.paho_client import PahoBroker
from listener.mqtt.paho_thread import stop_network_thread
from listener.player.segments import split_at_pauses
from listener.storage.home import Home as DataFolder
from listener.voice.consent import Consent, encode_consents, make_consent
from tests.assist import fake_wyoming
from tests.assist.fake_wyoming import FakeWyoming
from tests.home_assistant.home import OWNER, House
from tests.system.conftest import wait_until

Say = Callable[[str], object]

_TEXT: Final = "Alexa, turn on the lights."
_PATIENCE_S: Final = 120.0
_HANDED_OVER_S: Final = 2.0
"""Time in which Home Assistant carries out what assist handed over before its end."""
_RING_PERIOD_S: Final = 8.0
"""Time in which a ring has at least two bursts."""
_ANNOUNCEMENT_S: Final = ANNOUNCE_S + 2.0
"""Time after which an announcement waits no longer."""


def carry_out_commands(house: House, say: Say) -> None:
    """The same words from two rooms switch the light of each room; restarts repeat nothing."""
    with open_voice(house) as voice:
        for name in house.speakers:
            wait_until(lambda: voice.switched(name), f"the {name}'s light", _PATIENCE_S)  # noqa: B023 - used at once
            wait_until(
                lambda: last_command(house, name)[1] == "done",  # noqa: B023 - as above
                "the outcome",
                _PATIENCE_S,
            )
            say(f'"turn on the lights" in the {name}: its light is on, Command shows done')
        for process in ("assist", "send"):
            _restart(house, process)
            begun_s = time.monotonic()
            wait_until(
                lambda: all(voice.switched(name, begun_s) for name in house.speakers),  # noqa: B023 - as above
                f"both lights after a restart of {process}",
                _PATIENCE_S,
            )
            say(f"{process} killed and started again: the next command in each room is carried out")
        house.hub.kill("assist")
        time.sleep(_HANDED_OVER_S)
        ended_s = time.monotonic()
        before = {name: last_command(house, name) for name in house.speakers}
        for name in house.speakers:
            # The next command is spoken, and there is no answer.
            wait_until(
                partial(_has_ended_otherwise, house, name, before[name]),
                "another outcome",
                _PATIENCE_S,
            )
        switched = [name for name in house.speakers if voice.switched(name, ended_s)]
        assert not switched, "nothing is carried out after assist has ended"
        assert "lights" not in house.hub.said("assist").lower(), "no text in its log"
        ends = {last_command(house, name)[1] for name in house.speakers}
        house.hub.start("assist")
    say(f"after assist has ended, no light is switched: {', '.join(map(str, ends))}")


def play_replies(house: House, say: Say) -> None:
    """Home Assistant's answer is spoken at the speaker that sent the command, and at no other."""
    with open_voice(house, usual="") as voice, house.assistant.socket() as socket:
        device = house.devices()["kitchen"]["id"]
        answer = socket.answer_text("turn on the lights", device)
        speech = spoken(answer)
        left = set(house.speakers)
        while left:
            before = {name: times_sounded(house, name, speech) for name in house.speakers}
            name = voice.command(_TEXT)
            wait_until(
                lambda: times_sounded(house, name, speech) > before[name],  # noqa: B023 - used at once
                f"the answer at the {name}",
                _PATIENCE_S,
            )
            after = {name: times_sounded(house, name, speech) for name in house.speakers}
            assert after == before | {name: before[name] + 1}, "once, and there alone"
            if name in left:
                say(f'a command in the {name}: "{answer}" sounds there once, and nowhere else')
            left.discard(name)


def ring_timers(house: House, say: Say) -> None:
    """A timer that was set by voice rings at its speaker, until the microphone is muted."""
    with open_voice(house, usual="") as voice:
        name = voice.command("Alexa, set a timer for 2 seconds.")
        speech = spoken("Your timer for 2 seconds has ended.")
        burst = synthesize_ring(speech.rate_hz, 2.0, GATE_TAIL_S, RING_VOLUME)
        ring = ReplySound(burst, speech.rate_hz)
        wait_until(lambda: times_sounded(house, name, speech), "the text of the timer", _PATIENCE_S)
        wait_until(lambda: times_sounded(house, name, ring) > 1, "it rings", _PATIENCE_S)
        mute = house.entities(name)["mute"]["entity_id"]
        house.assistant.act("button", "press", entity_id=mute)
        house.wait_for(name, muted_by="software")
        rung = times_sounded(house, name, ring)
        time.sleep(_RING_PERIOD_S)
        assert times_sounded(house, name, ring) == rung, "muted, it stays silent"
        others = [other for other in house.speakers if times_sounded(house, other, ring)]
        assert others == [name], others
        assert house.speakers[name].earmark.run("mute", "off").returncode == 0
        house.wait_for(name, muted_by="open")
    say(f"2 seconds, set in the {name}: its text and {rung} bursts sound there, and nowhere else")
    say("Mute was pressed in Home Assistant: no further burst, also after the mute has ended")


def announce_texts(house: House, say: Say) -> None:
    """notify.send_message speaks a text at one speaker, or in an area, and never while muted."""
    exposed = house.assistant.call("homeassistant/expose_entity/list")["exposed_entities"]
    before = {name: last_command(house, name) for name in house.speakers}
    with open_voice(house, usual=""):
        # The broker stores no text for an assist that has not subscribed yet.
        wait_until(
            lambda: any(
                (now := last_command(house, name)) != before[name] and now[1] == "not-understood"
                for name in house.speakers
            ),
            "assist answers",
            _PATIENCE_S,
        )
        entities = {name: house.entities(name)["announce"]["entity_id"] for name in house.speakers}
        for entity in entities.values():
            assert not exposed.get(entity, {}).get("conversation"), entity
        text = "Dinner is ready"
        _announce(house, text, entity_id=entities["kitchen"])
        _wait_for_speech(house, text, "kitchen")
        assert not times_sounded(house, "bedroom", spoken(text))
        say(f"{entities['kitchen']}: the text sounds in the kitchen once, and nowhere else")

        text = "Good night"
        _announce(house, text, area_id=house.devices()["bedroom"]["area_id"])
        _wait_for_speech(house, text, "bedroom")
        assert not times_sounded(house, "kitchen", spoken(text))
        say("the area Bedroom: the text sounds in the bedroom once, and nowhere else")

        mute = house.entities("kitchen")["mute"]["entity_id"]
        house.assistant.act("button", "press", entity_id=mute)
        house.wait_for("kitchen", muted_by="software")
        text = "The washing is done"
        _announce(house, text, entity_id=entities["kitchen"])
        time.sleep(_ANNOUNCEMENT_S)
        assert house.speakers["kitchen"].earmark.run("mute", "off").returncode == 0
        house.wait_for("kitchen", muted_by="open")
        time.sleep(_HANDED_OVER_S)
        assert not times_sounded(house, "kitchen", spoken(text)), "muted, it stays silent"
        for text, there in (("Dinner is ready", "kitchen"), ("Good night", "bedroom")):
            counts = {name: times_sounded(house, name, spoken(text)) for name in house.speakers}
            assert counts == {name: int(name == there) for name in house.speakers}, counts
        say("the kitchen is muted: the text does not sound, also after the mute has ended")

    retained = [one for one in read_retained(house.own.port, "earmark/#") if "announce" in one]
    assert not retained, retained
    files = [*house.folder.rglob("*.log")]
    told = [file.name for file in files if b"Dinner" in file.read_bytes()]
    assert not told, told
    say(f"the texts are in none of {len(files)} logs, and the broker retains none")


def _announce(house: House, text: str, **target: str) -> None:
    house.assistant.act("notify", "send_message", message=text, **target)


def _wait_for_speech(house: House, text: str, name: str) -> None:
    speech = spoken(text)
    wait_until(lambda: times_sounded(house, name, speech), f"{text!r} sounds", _PATIENCE_S)
    assert times_sounded(house, name, speech) == 1


def spoken(text: str) -> ReplySound:
    """Return the sound that assist makes of a text."""
    sound = speak(text, [ProgramVoice("en")])
    assert sound is not None, "espeak-ng is not installed: make debian"
    return sound


def times_sounded(house: House, name: str, sound: ReplySound) -> int:
    """Return how often a speaker's loudspeaker has played a sound without an interruption."""
    whole = house.speakers[name].sounded().tobytes()
    # The player closes the loudspeaker in a pause, and so leaves its silence out.
    parts = split_at_pauses(sound.samples, sound.rate_hz)
    return min(
        whole.count(sound.samples[part.first_sample : part.end_sample].tobytes()) for part in parts
    )


@dataclass(frozen=True)
class VoiceHouse:
    """A home whose assist runs, with a speech to text under the scene's control."""

    house: House
    fake: FakeWyoming
    switches: list[tuple[str, float]]
    """Each time at which a room's light was told to go on: the room, and the monotonic time."""

    def switched(self, room: str, since_s: float = 0.0) -> int:
        """Return how often a room's light was told to go on since a monotonic time."""
        return sum(1 for name, at_s in tuple(self.switches) if name == room and at_s >= since_s)

    def command(self, text: str) -> str:
        """Let the next clip have a text; return the room in which it was carried out."""
        before = {name: last_command(self.house, name) for name in self.house.speakers}
        self.fake.texts.append(text)
        found: list[str] = []

        def is_done() -> bool:
            found[:] = [
                name
                for name in self.house.speakers
                if (now := last_command(self.house, name)) != before[name] and now[1] == "done"
            ]
            return bool(found)

        wait_until(is_done, f"{text!r} is carried out", _PATIENCE_S)
        return found[0]


@contextmanager
def open_voice(house: House, usual: str = _TEXT) -> Iterator[VoiceHouse]:
    """Run assist with a speech to text that knows one text.

    Args:
        house: the home; the first call adds assist, lights, and the owner's consent to it.
        usual: text of each clip for which the scene names none; empty for no words.
    """
    if not (house.folder / "assist").exists():
        for name in house.speakers:
            _add_light(house, name)
        _add_assist(house)
        for name in house.speakers:
            _allow(house, name)
    fake = FakeWyoming()
    fake.answer = [fake_wyoming.transcript(usual)]
    with fake_wyoming.running(fake), _switches(house) as switches:
        _write_configuration(house, fake.port)
        house.hub.start("assist")
        try:
            yield VoiceHouse(house, fake, switches)
        finally:
            house.hub.kill("assist")


def last_command(house: House, speaker: str) -> tuple[str, str | None]:
    """Return time and outcome of a speaker's last command, as Home Assistant shows them."""
    row = house.entities(speaker).get("command")
    found = None if row is None else house.assistant.state(row["entity_id"])
    if found is None:
        return "", None
    return str(found["state"]), found["attributes"].get("event_type")


def _has_ended_otherwise(house: House, name: str, before: tuple[str, str | None]) -> bool:
    """Return whether a later command of a speaker has ended, and not with ``done``."""
    now = last_command(house, name)
    return now != before and now[1] not in ("done", None)


def read_retained(port: int, pattern: str) -> list[str]:
    """Return the topics that a broker without rights retains; waits for a second."""
    found: list[str] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: found.append(message.topic)
    client.connect("127.0.0.1", port)
    client.subscribe(pattern, 1)
    client.loop_start()
    time.sleep(1)
    stop_network_thread(client)
    return found


def _restart(house: House, process: str) -> None:
    if process == "assist":
        house.hub.kill("assist")
        house.hub.start("assist")
        return
    for speaker in house.speakers.values():
        speaker.earmark.kill(process)
        speaker.earmark.start(process)


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
def _switches(house: House) -> Iterator[list[tuple[str, float]]]:
    """Note each time at which a room's light is told to go on."""
    switches: list[tuple[str, float]] = []

    def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        if message.payload == b"ON":
            switches.append((message.topic.split("/")[1], time.monotonic()))

    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.connect("127.0.0.1", house.own.port)
    client.subscribe("lamp/+/set", 1)
    client.loop_start()
    try:
        yield switches
    finally:
        client.disconnect()
        stop_network_thread(client)


def _add_assist(house: House) -> None:
    """Create assist's identity, and introduce the owner to the hub."""
    house.run("household", "add-service", "assist", "--to", str(house.folder / "assist"))
    house.household.reload()
    house.run("household", "announce")
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
        f'recogniser = "wyoming"\nwyoming_port = {port}\nvoice = "program"\n'
        f"[assist.groups]\n{groups}"
    )


def _allow(house: House, name: str) -> None:
    """Publish the owner's consent for a speaker, as the archive does."""
    hub, speaker = DataFolder(house.folder / "hub"), DataFolder(house.speakers[name].folder)
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
    stored = house.speakers[name].folder / "spool" / "consents.json"
    wait_until(stored.exists, f"the {name} has the consent", _PATIENCE_S)
