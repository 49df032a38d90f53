"""`earmark assist` as a process, with a real broker: what it keeps, and what a replay does."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import paho.mqtt.client as paho
import pytest
import soundfile
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from paho.mqtt.enums import CallbackAPIVersion

from listener.assist.service import ANNOUNCE_S
from listener.audio.pcm import Samples
from listener.envelope import keys
from listener.envelope.open import parse_identities
from listener.ipc.voice_paths import HOME_FOLDER, REPLY_KEY
from listener.mqtt.paho_thread import stop_network_thread
from listener.selftest.memory import MemorySnapshot, snapshot_memory
from listener.selftest.processes import freeze, process_tree
from listener.selftest.watermark import BLOCK_SAMPLES, Watermark
from listener.storage.home import Home
from listener.voice import timing
from listener.voice.consent import Consent, encode_consents, make_consent
from listener.voice.messages import Answer, Outcome
from tests import cards
from tests.assist import fake_home_assistant, fake_wyoming
from tests.assist.fake_home_assistant import TOKEN, FakeHomeAssistant
from tests.assist.fake_wyoming import FakeWyoming
from tests.assist.speaker import Speaker

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.system.conftest import Earmark, Mosquitto

pytestmark = pytest.mark.system

Wait = Callable[[Callable[[], object], str], None]
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
BLOCKS = 2_000  # 2 s
SECRET_BYTES = 32
ATTEMPTS = 4
SPEECH = {
    text: np.random.default_rng(seed).integers(-9_000, 9_000, 8_000).astype(np.int16)
    for seed, text in enumerate(("Dinner is ready", "Good night"))
}
"""The sound that stands for the speech of each text; noise has no pause."""


class Line:
    """The speaker's connection to the broker, which records what everyone says."""

    def __init__(self, speaker: Speaker, port: int) -> None:
        self.speaker = speaker
        self.heard: list[Answer | Outcome | None] = []
        self.replies: list[bytes] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "d-kitchen")
        self._client.on_message = self._on_message
        self._client.on_connect = self._on_connect
        self._subscribed = threading.Event()
        self._client.on_subscribe = lambda *_arguments: self._subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(30)

    def say(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload).wait_for_publish(30)

    def answer(self, nonce: str) -> Answer | None:
        answers = (one for one in self.heard if isinstance(one, Answer))
        return next((one for one in answers if one.ask == nonce), None)

    def outcomes(self) -> list[str]:
        return [one.outcome for one in self.heard if isinstance(one, Outcome)]

    def close(self) -> None:
        self._client.disconnect()
        stop_network_thread(self._client)

    def _on_connect(self, *_arguments: object) -> None:
        self._client.subscribe([("earmark/v1/answer/kitchen", 0), ("earmark/v1/say/kitchen", 0)])

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        if message.topic.startswith("earmark/v1/say"):
            self.replies.append(bytes(message.payload))
        else:
            self.heard.append(self.speaker.understand(bytes(message.payload)))


@pytest.fixture
def home_assistant() -> Iterator[FakeHomeAssistant]:
    with fake_home_assistant.running(FakeHomeAssistant()) as fake:
        yield fake


@pytest.fixture
def wyoming() -> Iterator[FakeWyoming]:
    with fake_wyoming.running(FakeWyoming()) as fake:
        fake.answer = [{"type": "transcript", "data": {"text": "Alexa, turn on the lights."}}]
        yield fake


@pytest.fixture
def kitchen(household: object, home: Path) -> Speaker:  # noqa: ARG001 - it has written the roster
    """A speaker in the household of the roster, whose owner allowed the assist of this home."""
    ada = Home(home).roster().known_owner("ada")
    speaker = Speaker("kitchen", Home(home).assist_key(), "ada", ada.okey)
    text = keys.device_text(speaker.key.public_key())
    Home(home).change_roster(
        lambda roster: (
            roster.without_device("kitchen", 0)
            if any(device.name == "kitchen" for device in roster.devices)
            else roster
        )
    )
    Home(home).change_roster(lambda roster: roster.with_device("kitchen", text))
    return speaker


@pytest.fixture
def started(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    home_assistant: FakeHomeAssistant,
    wyoming: FakeWyoming,
    tmp_path: Path,
    wait_until: Wait,
) -> Callable[[], None]:
    """Start assist, or start it again, and wait until it is subscribed."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    config = tmp_path / "earmark.toml"
    config.write_text(
        f"{config.read_text('utf-8')}"
        f'[assist]\nurl = "{home_assistant.url}"\ntoken_file = "{token}"\n'
        f'recogniser = "wyoming"\nwyoming_port = {wyoming.port}\nvoice = "none"\n'
    )
    mosquitto.start()
    starts = 0

    def start() -> None:
        nonlocal starts
        starts += 1
        earmark.start("assist", "--verbose")
        wait_until(lambda: earmark.said("assist").count("connected with") >= starts, "connected")

    return start


@pytest.fixture
def line(kitchen: Speaker, started: Callable[[], None], free_port: int) -> Iterator[Line]:
    started()
    line = Line(kitchen, free_port)
    yield line
    line.close()


def wake(line: Line, wait_until: Wait) -> tuple[str, bytes, str]:
    """Ask until there is a key: the subscription may be on its way, and assist waits at first."""
    asks: dict[str, bytes] = {}

    def is_answered() -> bool:
        nonce, ask = line.speaker.ask()
        asks[nonce] = ask
        line.say("earmark/v1/ask/kitchen", ask)
        end_s = time.monotonic() + 2
        while line.answer(nonce) is None and time.monotonic() < end_s:
            time.sleep(0.02)
        answer = line.answer(nonce)
        return answer is not None and answer.key is not None

    wait_until(is_answered, "a key")
    nonce = list(asks)[-1]
    answer = line.answer(nonce)
    assert answer is not None
    assert answer.key is not None
    return nonce, asks[nonce], answer.key


def look(pid: int) -> MemorySnapshot:
    """Copy the memory of a process and its children."""
    processes = process_tree(pid)
    with freeze(processes):
        return MemorySnapshot(
            [piece for one in processes for piece in snapshot_memory(one.pid).pieces]
        )


def count_secrets(snapshot: MemorySnapshot, public: bytes) -> int:
    """Return how often memory holds the secret key of an X25519 public key.

    The test does not know the key: it derives the public key of everything that looks random, at
    each address that a multiple of 8 can have.
    """
    found = 0
    for _, data in snapshot.pieces:
        cells = np.frombuffer(data, np.uint8)
        if len(cells) < SECRET_BYTES:
            continue
        rows = np.lib.stride_tricks.sliding_window_view(cells, SECRET_BYTES)[::8]
        for first in range(0, len(rows), 1 << 16):
            some = rows[first : first + (1 << 16)]
            is_random = ((some == 0).sum(1) <= 2) & (np.abs((some > 127).sum(1) - 16.0) <= 11)
            for row in {one.tobytes() for one in some[is_random]}:
                if len(set(row)) >= 24:
                    secret = X25519PrivateKey.from_private_bytes(row)
                    found += secret.public_key().public_bytes_raw() == public
    return found


def watermarked(mark: Watermark) -> Samples:
    """2 s of a signal that can be found in memory, below blocks of the test itself."""
    return mark.signal(0, BLOCKS)[: BLOCKS * BLOCK_SAMPLES]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads the memory of such a process")
@pytest.mark.timeout(180)
def test_memory_holds_no_sound_and_no_key_after_the_command(
    line: Line,
    earmark: "Earmark",
    wyoming: FakeWyoming,
    home_assistant: FakeHomeAssistant,
    home: Path,
    wait_until: Wait,
) -> None:
    mark = Watermark(7)
    wyoming.may_answer.clear()
    nonce, _, key = wake(line, wait_until)
    public = keys.age_bytes(key)
    pid = earmark.pid("assist")
    before = look(pid)

    sound = watermarked(mark)
    line.say(f"earmark/v1/spoken/kitchen/{nonce}", line.speaker.copy(nonce, key, sound=sound))
    assert wyoming.is_heard.wait(30)
    during = look(pid)
    wyoming.may_answer.set()
    wait_until(line.outcomes, "an outcome")
    assert line.outcomes() == ["done"]
    assert home_assistant.lights == ["kitchen"]

    afterwards = look(pid)

    # Searched now: the speaker's command would have been late.
    assert count_secrets(before, public) >= 1, "the search finds the key of an open ask"
    assert during.scan(mark).found, "the search finds the sound while it is recognised"
    assert count_secrets(during, public) == 0, "the last part has taken the key with it"
    assert afterwards.scan(mark).places == {}
    assert count_secrets(afterwards, public) == 0
    for file in home.rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert not mark.find(data), file
            assert b"turn on" not in data, file
    said = earmark.said("assist")
    assert "lights" not in said.lower()


@pytest.mark.timeout(180)
def test_spoken_command_switches_the_light_in_its_room(
    started: Callable[[], None],
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    wyoming: FakeWyoming,
    home_assistant: FakeHomeAssistant,
    tmp_path: Path,
    wait_until: Wait,
) -> None:
    """Real hear, send and assist; recognised text and Home Assistant are fakes."""
    names = ["quiet", "alexa_command", "talk", *["quiet"] * 60]
    files = [str(FIXTURES / f"{name}.flac") for name in names]
    config = tmp_path / "earmark.toml"
    text = config.read_text("utf-8")
    client = paho.Client(CallbackAPIVersion.VERSION2)
    events: list[dict[str, object]] = []
    client.on_message = lambda _client, _data, message: events.append(json.loads(message.payload))
    started()
    # Keys of a table before it: dotted ones go to the beginning.
    config.write_text(
        f'attribution.keeper = "ada"\nmicrophone.files = {json.dumps(files)}\n{text}', "utf-8"
    )
    client.connect("127.0.0.1", mosquitto.port)
    client.subscribe("earmark/v1/event/hall")
    client.loop_start()
    client.publish("earmark/v1/consents/hall", consent_of(household), 1, retain=True)
    earmark.start("send")
    wait_until((household.home.path / "spool" / "consents.json").exists, "the consent is stored")
    time.sleep(timing.GROUP_S)  # assist answers nothing before

    earmark.start("hear", "--json")
    wait_until(lambda: home_assistant.lights, "the light")
    wait_until(lambda: [one for one in events if one["event_type"] == "command"], "an outcome")
    client.disconnect()
    stop_network_thread(client)

    assert home_assistant.lights == ["hall"]
    (outcome,) = [one for one in events if one["event_type"] == "command"]
    assert outcome["outcome"] == "done"
    assert len(wyoming.sound) > 2 * 16_000, "more than a second"
    assert "turn on" not in earmark.said("assist") + earmark.said("hear") + earmark.said("send")


def write_voice(folder: Path) -> Path:
    """Write a program named espeak-ng that knows two texts; return its folder."""
    lines = ["#!/bin/sh", "read -r text", 'case "$text" in']
    for number, (text, sound) in enumerate(SPEECH.items()):
        soundfile.write(folder / f"{number}.wav", sound, 16_000, subtype="PCM_16")
        lines.append(f'"{text}") exec cat "{folder}/{number}.wav" ;;')
    program = folder / "voice" / "espeak-ng"
    program.parent.mkdir()
    program.write_text("\n".join([*lines, "esac", "exit 1", ""]))
    program.chmod(0o755)
    return program.parent


@pytest.mark.timeout(600)
def test_announcement_sounds_once_and_not_while_muted(
    started: Callable[[], None],
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    household: "Household",
    tmp_path: Path,
    wait_until: Wait,
) -> None:
    """Real assist, send, hear and player; espeak-ng is a stand-in."""
    voice = household.home.path / HOME_FOLDER
    loudspeaker = voice / "loudspeaker.raw"
    card = f'type file; slave.pcm "null"; file "|cat >> {loudspeaker}"; format raw'
    earmark.environment[cards.VARIABLE] = cards.write_settings(tmp_path, loud=card)
    files = [str(FIXTURES / "quiet.flac")] * 60
    config = tmp_path / "earmark.toml"
    text = config.read_text("utf-8").replace('voice = "none"', 'voice = "program"')
    config.write_text(
        f'attribution.keeper = "ada"\nmicrophone.files = {json.dumps(files)}\n'
        f'player.device = "loud"\nplayer.volume = 1.0\n{text}',
        "utf-8",
    )

    earmark.environment["PATH"] = f"{write_voice(tmp_path)}:{os.environ['PATH']}"

    def sounded(words: str) -> int:
        wanted = SPEECH[words].tobytes()
        return loudspeaker.read_bytes().count(wanted) if loudspeaker.exists() else 0

    def announce(words: str) -> None:
        """Announce a text until it sounds: on a slow machine one may wait for longer than 30 s."""
        for _ in range(ATTEMPTS):
            client.publish("earmark/v1/announce/hall", words)
            until_s = time.monotonic() + ANNOUNCE_S + timing.REPLY_S
            while not (found := sounded(words)) and time.monotonic() < until_s:
                time.sleep(0.05)
            if found:
                return
        pytest.fail(f"{words} never sounds: {earmark.said('assist')} {earmark.said('play')}")

    started()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    client.publish("earmark/v1/consents/hall", consent_of(household), 1, retain=True)
    earmark.start("send")
    wait_until((household.home.path / "spool" / "consents.json").exists, "the consent is stored")
    earmark.start("play", "--verbose")
    wait_until((voice / REPLY_KEY).exists, "a reply key lies ready")
    earmark.start("hear", "--json")
    wait_until(lambda: '"started"' in earmark.said("hear"), "hear listens")

    announce("Dinner is ready")
    assert earmark.run("mute", "on").returncode == 0
    client.publish("earmark/v1/announce/hall", "Good night")
    time.sleep(ANNOUNCE_S + 1)
    assert sounded("Good night") == 0, "it is muted"
    assert earmark.run("mute", "off").returncode == 0
    announce("Good night")
    client.disconnect()
    stop_network_thread(client)

    assert sounded("Dinner is ready") == sounded("Good night") == 1
    said = "".join(earmark.said(verb) for verb in ("assist", "send", "hear", "play"))
    assert "inner" not in said
    assert "ood night" not in said


def consent_of(household: "Household") -> bytes:
    """Return ada's consent for the speaker hall and the assist of this home."""
    (identity,) = parse_identities(household.identities["ada"].encode(), "ada's")
    consent = Consent(
        assist=keys.device_text(household.home.assist_key().public_key()),
        device="hall",
        n=7,
        okey=identity.okey,
        on=1,
        owner="ada",
    )
    speaker = household.device_key.public_key()
    return encode_consents([make_consent(consent, identity.agreement(), speaker)])


@pytest.mark.timeout(180)
def test_recorded_messages_do_nothing_after_the_act_and_after_a_restart(
    line: Line,
    earmark: "Earmark",
    started: Callable[[], None],
    wyoming: FakeWyoming,
    home_assistant: FakeHomeAssistant,
    wait_until: Wait,
) -> None:
    nonce, ask, key = wake(line, wait_until)
    topic = f"earmark/v1/spoken/kitchen/{nonce}"
    copy = line.speaker.copy(nonce, key)
    line.say(topic, copy)
    wait_until(line.outcomes, "an outcome")

    def replay(kind: str) -> None:
        before = len(line.outcomes())
        line.say("earmark/v1/ask/kitchen", ask)
        line.say(topic, copy)
        wait_until(lambda: len(line.outcomes()) > before, "an outcome of the replay")
        assert line.outcomes()[-1] == kind

    # The outcome of an ask is the last word on it: a copy that comes again has none.
    before = line.outcomes()
    line.say("earmark/v1/ask/kitchen", ask)
    line.say(topic, copy)
    wake(line, wait_until)
    assert line.outcomes() == before
    assert earmark.kill("assist", signal.SIGKILL) == -signal.SIGKILL
    started()
    wake(line, wait_until)
    replay("late")
    assert earmark.kill("assist", signal.SIGTERM) == 0
    started()
    wake(line, wait_until)
    replay("late")

    assert home_assistant.lights == ["kitchen"]
    assert len([one for one in wyoming.events if one["type"] == "audio-stop"]) == 1
