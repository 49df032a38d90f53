"""Mute by command line and MQTT with real processes: hear, send, mosquitto."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
import pytest
import soundfile
from paho.mqtt.enums import CallbackAPIVersion

from listener.mqtt.paho_thread import stop_network_thread
from tests.conftest import Household
from tests.ports import find_free_port

PATIENCE_S = 60.0
COMMAND = "earmark/v1/command/hall"


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Wait for something to become true; the limit is for failures, not a measurement."""
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until_s, f"never: {what}"
        time.sleep(0.02)


class Reader:
    """What a process says, line by line, read as it comes."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.lines: list[dict[str, object]] = []
        self._process = process
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines.extend(json.loads(line) for line in self._process.stdout)

    def mutes(self) -> list[object]:
        return [line.get("cause") for line in self.lines if line["event"] == "muted"]

    def opens(self) -> int:
        return sum(line["event"] == "unmuted" for line in self.lines)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Speaker:
    """One speaker: hear on a quiet recording in real time, and send."""

    def __init__(self, household: Household, folder: Path, port: int) -> None:
        self.home = household.home.path
        self.config = folder / "earmark.toml"
        recording = folder / "quiet.wav"
        noise = np.random.default_rng(1).integers(-20, 20, 16_000 * 120).astype(np.int16)
        soundfile.write(recording, noise, 16_000, subtype="PCM_16")
        self.settings = (
            f'device.name = "hall"\nattribution.keeper = "ada"\nbroker.port = {port}\n'
            f'microphone.files = ["{recording}"]\n'
        )
        self.configure("")
        self._stack = contextlib.ExitStack()

    def configure(self, more: str) -> None:
        self.config.write_text(self.settings + more)

    def words(self, *words: str) -> list[str]:
        common = ["--home", str(self.home), "--config", str(self.config)]
        return [sys.executable, "-m", "listener", *words, *common]

    def hear(self) -> Reader:
        process = subprocess.Popen(self.words("hear", "--json"), stdout=subprocess.PIPE, text=True)
        reader = Reader(process)
        self._stack.callback(reader.end)
        wait_until(lambda: reader.lines and (self.home / "control.sock").exists(), "hear listens")
        return reader

    def send(self) -> None:
        process = subprocess.Popen(self.words("send"))
        self._stack.callback(process.wait)
        self._stack.callback(process.terminate)

    def mute(self, action: str) -> dict[str, object]:
        done = subprocess.run(
            self.words("mute", action, "--json"), capture_output=True, text=True, check=True
        )
        state: dict[str, object] = json.loads(done.stdout)
        return state

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def port() -> int:
    return find_free_port()


@pytest.fixture
def speaker(household: Household, tmp_path: Path, port: int) -> Iterator[Speaker]:
    made = Speaker(household, tmp_path, port)
    yield made
    made.close()


class Person:
    """Somebody at the broker."""

    def __init__(self, port: int) -> None:
        self.status: dict[str, object] = {}
        self.events: list[object] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._hear
        wait_until(lambda: self._reaches(port), "mosquitto answers")
        self._client.subscribe("earmark/v1/status/hall", 1)
        self._client.subscribe("earmark/v1/event/hall", 1)
        self._client.loop_start()

    def _reaches(self, port: int) -> bool:
        with contextlib.suppress(OSError):
            self._client.connect("127.0.0.1", port)
            return True
        return False

    def _hear(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        del client, data
        said = json.loads(message.payload)
        if "/status/" in message.topic:
            self.status = said
        else:
            self.events.append(said)

    def say(self, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(COMMAND, payload, 1, retain).wait_for_publish(PATIENCE_S)

    def close(self) -> None:
        self._client.disconnect()
        stop_network_thread(self._client)


@pytest.fixture
def person(tmp_path: Path, port: int) -> Iterator[Person]:
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        pytest.skip("mosquitto is not installed: make debian")
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    with (tmp_path / "mosquitto.log").open("wb") as log:
        broker = subprocess.Popen([program, "-c", str(config)], stdout=log, stderr=log)
    made = Person(port)
    yield made
    made.close()
    broker.kill()
    broker.wait()


@pytest.mark.system
def test_mute_command_survives_a_kill_of_hear(speaker: Speaker) -> None:
    hear = speaker.hear()

    assert speaker.mute("on")["hear"] is True
    wait_until(lambda: hear.mutes() == ["software"], "hear is muted")
    hear.end()
    again = speaker.hear()
    wait_until(lambda: again.mutes() == ["software"], "hear is muted from its start")
    assert not any(line["event"] == "unmuted" for line in again.lines)
    speaker.mute("off")

    wait_until(lambda: again.opens() == 1, "hear is open")


@pytest.mark.system
def test_last_of_many_fast_mute_commands_wins(speaker: Speaker) -> None:
    hear = speaker.hear()

    for _ in range(3):
        speaker.mute("on")
        speaker.mute("off")
    speaker.mute("on")

    wait_until(lambda: len(hear.mutes()) == hear.opens() + 1, "hear is muted in the end")
    speaker.mute("off")
    wait_until(lambda: len(hear.mutes()) == hear.opens(), "hear is open in the end")


@pytest.mark.system
def test_second_hear_on_the_same_home_is_refused(speaker: Speaker) -> None:
    speaker.hear()

    second = subprocess.run(speaker.words("hear"), capture_output=True, text=True, check=False)

    assert second.returncode == 69
    assert "already listens" in second.stderr


@pytest.mark.system
def test_garbage_on_the_control_socket_changes_nothing(speaker: Speaker) -> None:
    hear = speaker.hear()
    rng = np.random.default_rng(7)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        stranger.settimeout(PATIENCE_S)
        for length in rng.integers(0, 400, 500):
            stranger.sendto(rng.bytes(int(length)), str(speaker.home / "control.sock"))
        stranger.sendto(b'{"kind":"unmute"}', str(speaker.home / "control.sock"))

    speaker.mute("on")

    wait_until(lambda: hear.mutes() == ["software"], "hear still listens to what is right")


@pytest.mark.system
def test_mqtt_message_mutes_and_by_default_cannot_unmute(speaker: Speaker, person: Person) -> None:
    # An old wish, kept by the broker: it must not act when send connects.
    person.say(b"mute", retain=True)
    hear = speaker.hear()
    speaker.send()
    wait_until(lambda: person.status.get("state") == "online", "send is there")
    assert hear.mutes() == []

    for rubbish in (b"", b"MUTE", b"mute\n", b"\xff" * 4000, b'{"mute":true}'):
        person.say(rubbish)
    person.say(b"mute")
    wait_until(lambda: hear.mutes() == ["software"], "hear is muted")
    wait_until(lambda: person.status.get("mute") == "software", "the status says so")
    wait_until(lambda: {"event_type": "mute", "state": "software"} in person.events, "and an event")

    person.say(b"unmute")
    person.say(b"unmute")
    wait_until(lambda: speaker.mute("status")["software_by"] == "message", "it is written")
    assert hear.opens() == 0
    speaker.mute("off")
    wait_until(lambda: person.status.get("mute") == "open", "a person at the machine can")


@pytest.mark.system
def test_mqtt_message_unmutes_with_remote_unmute(speaker: Speaker, person: Person) -> None:
    speaker.configure("mute.remote_unmute = true\n")
    hear = speaker.hear()
    speaker.send()
    wait_until(lambda: person.status.get("state") == "online", "send is there")
    person.say(b"mute")
    wait_until(lambda: hear.mutes() == ["software"], "hear is muted")

    person.say(b"unmute")

    wait_until(lambda: hear.opens() == 1, "hear is open")
    wait_until(lambda: speaker.mute("status")["cause"] == "open", "and it lasts")


@pytest.mark.system
def test_mute_sent_while_hear_is_stopped_is_applied(speaker: Speaker, person: Person) -> None:
    speaker.send()
    wait_until(lambda: person.status.get("state") == "online", "send is there")
    person.say(b"mute")

    hear = speaker.hear()

    wait_until(lambda: hear.mutes() == ["software"], "hear is muted as soon as it is there")
