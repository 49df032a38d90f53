"""The access control lists in the guide, on a real mosquitto with users and passwords."""

import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from listener.household import identity
from listener.household.broker_config import BRIDGE_STATE, topic_rights
from listener.household.identity import ARCHIVE, ASSIST, HouseholdIdentity
from listener.mqtt import topics
from listener.mqtt.paho_thread import stop_network_thread

if TYPE_CHECKING:
    from tests.system.conftest import Mosquitto

pytestmark = pytest.mark.system

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "voice-control.md"
VOICE = ("ask", "spoken", "consents", "answer", "say")
PAIRS = (
    ("archive", "kitchen", "earmark/v1/consents/kitchen"),
    ("archive", "assist", "earmark/v1/consents/kitchen"),
    ("kitchen", "assist", "earmark/v1/ask/kitchen"),
    ("assist", "kitchen", "earmark/v1/answer/kitchen"),
    ("kitchen", "assist", "earmark/v1/spoken/kitchen/0123"),
    ("assist", "kitchen", "earmark/v1/say/kitchen"),
)
"""Writer, reader and topic of each message of voice control."""
DENIED = (
    ("kitchen", "assist", "earmark/v1/ask/bedroom"),
    ("kitchen", "assist", "earmark/v1/spoken/bedroom/0123"),
    ("kitchen", "assist", "earmark/v1/consents/kitchen"),
    ("assist", "kitchen", "earmark/v1/consents/kitchen"),
    ("assist", "kitchen", "earmark/v1/answer/bedroom"),
    ("archive", "assist", "earmark/v1/ask/kitchen"),
    ("archive", "kitchen", "earmark/v1/answer/kitchen"),
)
"""As ``PAIRS``; one end has no right."""


def lists() -> list[str]:
    """Return the access control lists of the guide."""
    blocks = re.findall(
        r"^```\n(user .*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [block for block in blocks if "\ntopic " in block]


def rights(text: str) -> dict[str, set[tuple[str, str]]]:
    """Return access and topic of each line, by user."""
    found: dict[str, set[tuple[str, str]]] = {}
    user = ""
    for line in text.splitlines():
        match line.split():
            case ["user", user]:
                found[user] = set()
            case ["topic", access, topic]:
                found[user].add((access, topic))
            case rest:
                assert not rest, line
    return found


def generated(who: HouseholdIdentity) -> set[tuple[str, str]]:
    """Return what an identity has at the household's broker."""
    granted = topic_rights(who)
    return {("write", topic) for topic in granted.writes} | {
        ("read", topic) for topic in granted.reads
    }


def of_voice(granted: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(access, topic) for access, topic in granted if topic.split("/")[2:3][0] in VOICE}


def test_lines_of_the_guide_are_those_of_the_households_broker() -> None:
    voice, bridge = lists()
    speaker = identity.device("kitchen")

    assert rights(voice) == {
        "kitchen": of_voice(generated(speaker)),
        "assist": generated(ASSIST),
        "archive": of_voice(generated(ARCHIVE)),
    }
    assert rights(bridge) == {
        "homeassistant": {
            ("read", topics.DISCOVERY.topic_filter()),
            ("read", topics.STATUS.topic_filter()),
            ("read", topics.EVENT.topic_filter()),
            ("read", BRIDGE_STATE),
            ("write", topics.COMMAND.topic_filter()),
            ("write", topics.ANNOUNCE.topic_filter()),
        }
    }


class User:
    """A client with a user name, which subscribes to everything of voice control."""

    def __init__(self, name: str, port: int) -> None:
        self.received: list[tuple[str, bytes]] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, f"c-{name}")
        self._client.username_pw_set(name, "secret")
        self._client.on_message = lambda _client, _data, message: self.received.append(
            (message.topic, bytes(message.payload))
        )
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_arguments: subscribed.set()
        wanted = [*(f"earmark/v1/{kind}/#" for kind in VOICE), f"test/{name}"]

        def subscribe(*_arguments: object) -> None:
            self._client.subscribe([(topic, 1) for topic in wanted])

        self._client.on_connect = subscribe
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(30)

    def publish(self, topic: str, payload: str) -> None:
        self._client.publish(topic, payload, 1).wait_for_publish(30)

    def close(self) -> None:
        self._client.disconnect()
        stop_network_thread(self._client)


@pytest.fixture
def users(mosquitto: "Mosquitto", tmp_path: Path) -> Iterator[Callable[[str], User]]:
    """Users of a broker whose list is that of the guide."""
    acl, passwords = tmp_path / "acl", tmp_path / "passwords"
    # The fence: what arrives behind it has passed everything before it.
    fences = "".join(f"topic readwrite test/{name}\n" for name in ("kitchen", "assist"))
    acl.write_text(lists()[0].replace("\nuser", f"\n{fences}user") + fences)
    passwords.touch()
    for name in ("kitchen", "assist", "archive"):
        words = ["mosquitto_passwd", "-b", str(passwords), name, "secret"]
        subprocess.run(words, check=True, capture_output=True)
    for file in (acl, passwords):
        file.chmod(0o600)
    mosquitto.start(listener=f"allow_anonymous false\nacl_file {acl}\npassword_file {passwords}")
    made: dict[str, User] = {}

    def user(name: str) -> User:
        if name not in made:
            made[name] = User(name, mosquitto.port)
        return made[name]

    yield user
    for one in made.values():
        one.close()


def test_each_message_of_voice_control_arrives_and_nothing_else(
    users: Callable[[str], User], wait_until: Callable[[Callable[[], object], str], None]
) -> None:
    for writer, reader, topic in PAIRS:
        users(reader)
        users(writer).publish(topic, f"{writer} to {reader}")
        expected = (topic, f"{writer} to {reader}".encode())
        wait_until(lambda: expected in users(reader).received, topic)  # noqa: B023 - called at once

    for number, (writer, reader, topic) in enumerate(DENIED):
        users(writer).publish(topic, f"denied {number}")
        users(writer).publish(f"test/{reader}", f"fence {number}")
        fence = (f"test/{reader}", f"fence {number}".encode())
        wait_until(lambda: fence in users(reader).received, "the fence")  # noqa: B023 - as above
        assert not [one for one in users(reader).received if one[1] == f"denied {number}".encode()]
