"""A stolen speaker that stays connected while it is revoked."""

import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from benchmarks.processes import earmark
from benchmarks.soak.cast import until
from listener.mqtt.paho_thread import stop_network_thread
from tests.adversary.flood_home import OPERATOR, FloodHome, flood_home

pytestmark = pytest.mark.system


class Member:
    """A client of the broker with a certificate of the household."""

    def __init__(self, home: FloodHome, tls: Path, cn: str) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=cn, protocol=MQTTProtocolVersion.MQTTv5
        )
        context = ssl.create_default_context(cafile=str(tls / "ca.crt"))
        context.load_cert_chain(tls / f"{cn}.crt", tls / f"{cn}.key")
        self.client.tls_set_context(context)
        self.client.on_message = lambda _c, _d, message: self.received.append(
            (message.topic, bytes(message.payload))
        )
        self.client.connect("127.0.0.1", home.port)
        self.client.loop_start()
        until(self.client.is_connected, f"{cn} is connected")

    def publish(self, topic: str, payload: bytes) -> None:
        self.client.publish(topic, payload, 1).wait_for_publish(20)

    def has(self, payload: bytes) -> bool:
        return any(payload in one for _, one in self.received)

    def close(self) -> None:
        self.client.disconnect()
        stop_network_thread(self.client)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[FloodHome]:
    with flood_home(tmp_path) as made:
        yield made


def test_revoked_speaker_has_no_rights_on_its_open_connection(home: FloodHome) -> None:
    thief = Member(home, home.stolen.tls, "d-kitchen")
    operator = Member(home, home.operator_tls, f"d-{OPERATOR}")
    operator.client.subscribe("earmark/v1/status/kitchen", 1)
    thief.client.subscribe("earmark/v1/command/kitchen", 1)
    clip, _, data = home.stolen.seal(home.identities, "ada")

    def is_stored() -> bool:
        """Publish the clip again, as send does: the archive may not be connected yet."""
        thief.publish(f"earmark/v1/clips/ada/kitchen/{clip}", data)
        return clip in home.stored()

    until(is_stored, "a clip from before is stored")
    thief.publish("earmark/v1/status/kitchen", b'"before"')
    until(lambda: operator.has(b"before"), "the status is delivered")

    revoke = earmark("household", "revoke", "d-kitchen", "--home", str(home.home.path))
    subprocess.run(revoke, check=True, capture_output=True)
    allow(home, OPERATOR)
    os.kill(home.broker.pid, signal.SIGHUP)

    def is_denied() -> bool:
        """Whether a status of the thief is no longer delivered, and others' messages are."""
        operator.received.clear()
        thief.client.publish("earmark/v1/status/kitchen", b'"after"', 1)
        operator.publish("earmark/v1/status/kitchen", b'"own"')
        until(lambda: operator.has(b"own"), "the operator's message is delivered")
        return not operator.has(b"after")

    until(is_denied, "the broker denies what the thief publishes")
    late, _, data = home.stolen.seal(home.identities, "ada")
    thief.client.publish(f"earmark/v1/clips/ada/kitchen/{late}", data, 1)
    operator.publish(f"earmark/v1/clips/ada/kitchen/{late}", data)  # past the rights
    operator.publish("earmark/v1/command/kitchen", b"mute")
    good = home.honest.put(home.identities, "ada")
    until(lambda: good in home.stored(), "another speaker's clip is stored")

    assert late not in home.stored()
    assert thief.received == []
    thief.close()
    operator.close()


def allow(home: FloodHome, name: str) -> None:
    """Give the operator its rights again: revoking wrote the file."""
    rights = home.home.path / "household" / "mosquitto" / "acl"
    text = rights.read_text("utf-8")
    if f"user d-{name}\ntopic readwrite #" not in text:
        rights.write_text(f"{text}\nuser d-{name}\ntopic readwrite #\n", "utf-8")
