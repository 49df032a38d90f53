"""A home's own broker, bridged to the household's: two real mosquittos."""

import contextlib
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from listener import config
from listener.envelope import keys
from listener.household import identity
from listener.household.identity import HouseholdIdentity
from listener.household.state import HouseholdStore
from listener.mqtt.client import ConnectedEvent, Message
from listener.mqtt.paho_client import PahoBroker
from listener.storage.home import Home
from tests.ports import find_free_port
from tests.system.conftest import Earmark, Mosquitto, wait_until

pytestmark = pytest.mark.system

HALL = identity.device("hall")
STATUS, EVENT, COMMAND = (f"earmark/v1/{kind}/hall" for kind in ("status", "event", "command"))
DISCOVERY = "homeassistant/device/earmark-hall/config"
LIGHT = "homeassistant/light/lamp/config"
BRIDGE = "earmark/bridge"
ONLINE = b'{"state":"online"}'


class Client:
    """A client of a broker; it stores what it receives."""

    def __init__(self, settings: config.BrokerSettings, name: str, *filters: str) -> None:
        self.received: list[Message] = []
        self._broker = PahoBroker(settings, name)
        self._filters = filters
        self._is_connected = False
        self._broker.connect()
        self.wait_until(lambda: self._is_connected)

    def wait_until(self, is_done: Callable[[], object], longest_s: float = 60) -> None:
        """Poll until something holds."""
        until_s = time.monotonic() + longest_s
        while not is_done():
            assert time.monotonic() < until_s, self.received
            self.poll()

    def poll(self) -> None:
        """Send and receive for a moment."""
        for event in self._broker.poll(0.1):
            if isinstance(event, ConnectedEvent):
                self._is_connected = True
                for topic_filter in self._filters:
                    self._broker.subscribe(topic_filter)
            elif isinstance(event, Message):
                self.received.append(event)

    def wait_for(self, topic: str, payload: bytes | None = None) -> None:
        """Poll until the newest message of a topic has a payload, or any."""
        self.wait_until(
            lambda: self.newest(topic) == payload if payload else self.newest(topic) is not None
        )

    def newest(self, topic: str) -> bytes | None:
        """Return the newest payload of a topic."""
        return next((one.payload for one in reversed(self.received) if one.topic == topic), None)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._broker.publish(Message(topic, payload, 1, retain))

    def close(self) -> None:
        self._broker.close()


@dataclass
class Hub:
    """A household with a speaker, and the broker of its own of the same home."""

    home: Path
    household: Mosquitto
    own: Mosquitto
    earmark: Earmark

    def run(self, *words: str) -> str:
        done = self.earmark.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def client(self, who: HouseholdIdentity, *filters: str) -> Client:
        """Connect a member to the household's broker."""
        issued = self.home / "household" / "issued"
        settings = config.BrokerSettings(
            host="localhost",
            port=self.household.port,
            ca_file=str(self.home / "household" / "ca.crt"),
            certificate_file=str(issued / f"{who.cn}.crt"),
            key_file=str(issued / f"{who.cn}.key"),
        )
        return Client(settings, who.cn, *filters)

    def own_client(self, name: str, *filters: str) -> Client:
        """Connect to the home's own broker, as Home Assistant does."""
        settings = config.BrokerSettings(host="localhost", port=self.own.port)
        return Client(settings, name, *filters)


@pytest.fixture
def hub(tmp_path: Path, mosquitto: Mosquitto, free_port: int) -> Iterator[Hub]:
    del free_port
    settings = tmp_path / "earmark.toml"
    settings.write_text("")
    (tmp_path / "own").mkdir()
    program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    assert program is not None
    own = Mosquitto(program, tmp_path / "own", find_free_port())
    (tmp_path / "home").mkdir(mode=0o700)
    yield Hub(tmp_path / "home", mosquitto, own, Earmark(tmp_path / "home", settings))
    own.kill()


def test_bridge_carries_states_and_commands_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    hub.run("household", "init", "--host", "localhost", "--port", str(hub.household.port))
    bridge = tmp_path / "bridge.conf"
    to = ("--to", str(tmp_path / "ha"), "--bridge", str(bridge))
    hub.run("household", "add-service", "home-assistant", *to)
    store = HouseholdStore(hub.home)
    store.issue(HALL, hub.home / "household" / "issued")
    key = Home(tmp_path / "speaker").device_key().public_key()
    hub.run("household", "add-device", "hall", "--key", keys.device_text(key))
    files = hub.home / "household" / "mosquitto"
    hub.household.start_with(files)
    speaker = hub.client(HALL, "earmark/v1/#")
    speaker.publish(STATUS, ONLINE, retain=True)
    hub.run("household", "announce")

    hub.own.start(*bridge.read_text().splitlines())
    # The subscription to the topic by its name gets the retained message, as Home Assistant's does.
    assistant = hub.own_client("assistant", "#", BRIDGE)

    # Retained messages arrive by themselves, and events as they happen.
    assistant.wait_for(DISCOVERY)
    assistant.wait_for(STATUS, ONLINE)
    assistant.wait_for(BRIDGE, b"1")
    speaker.publish(EVENT, b'{"event_type":"wake","word":"alexa"}')
    wait_until(lambda: is_carried(speaker, assistant, EVENT), "the event arrives")

    # A command reaches the speaker. Everything else stays on the home's own broker.
    assistant.publish(LIGHT, b"{}", retain=True)
    assistant.publish(STATUS, b'{"state":"forged"}')
    assistant.publish("zigbee2mqtt/lamp/set", b"ON")
    assistant.publish(COMMAND, b"mute")
    wait_until(lambda: is_carried(assistant, speaker, COMMAND), "the command arrives")
    assert [message.topic for message in speaker.received] == [COMMAND]
    household = hub.client(
        identity.HOUSEHOLD, "homeassistant/device/+/config", "earmark/v1/status/+"
    )
    household.wait_for(STATUS, ONLINE)
    assert hub.run("household", "announce") == "1 speaker: 0 added or changed, 0 removed\n"

    # Without the household's broker, the home's own one reports that what it retains may be old.
    speaker.close()
    household.close()
    hub.household.kill()
    assistant.wait_for(BRIDGE, b"0")
    late = hub.own_client("late", STATUS, BRIDGE)
    late.wait_for(BRIDGE, b"0")
    late.close()

    # And back, though the household's broker has lost what it retained.
    hub.household.start_with(files)
    speaker = hub.client(HALL)
    speaker.publish(STATUS, b'{"hearing":true,"state":"online"}', retain=True)
    hub.run("household", "announce")
    assistant.wait_for(BRIDGE, b"1")
    assistant.wait_for(STATUS, b'{"hearing":true,"state":"online"}')
    speaker.close()
    assistant.close()


def is_carried(sender: Client, receiver: Client, topic: str) -> bool:
    """Let two clients send and receive; return whether the receiver has a message of a topic."""
    sender.poll()
    receiver.poll()
    return receiver.newest(topic) is not None


def is_listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_mosquitto_reads_its_files_after_the_printed_steps(hub: Hub) -> None:
    port = str(hub.household.port)
    printed = hub.run("household", "init", "--host", "localhost", "--port", port)
    steps = [shlex.split(line) for line in printed.splitlines() if line.startswith("  ")]

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        if os.geteuid() == 0:
            # The home is closed to mosquitto's user: the first step writes its files elsewhere.
            init, link = (
                [word.replace("/etc/mosquitto", name) for word in step] for step in steps[:2]
            )
            assert init[:2] == ["earmark", "household"]
            hub.run(*init[1:])
            configuration = link[2]
            user = pwd.getpwnam("mosquitto").pw_uid
            assert (folder / "earmark" / "acl").stat().st_uid == user
        else:
            configuration = steps[0][2]
        program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
        # Started by root, it becomes the user mosquitto.
        with subprocess.Popen([program or "", "-c", configuration]) as broker:
            try:
                wait_until(lambda: is_listening(hub.household.port), "mosquitto answers")
                client = hub.client(identity.HOUSEHOLD, "homeassistant/device/+/config")
                client.publish(DISCOVERY, b"{}", retain=True)
                client.wait_for(DISCOVERY, b"{}")
                client.close()
            finally:
                broker.terminate()
