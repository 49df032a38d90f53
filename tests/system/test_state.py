"""The retained status, in each order of starts and kills of hear, send and the broker."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import paho.mqtt.client as paho
import pytest
import soundfile
from paho.mqtt.enums import CallbackAPIVersion

from listener.mqtt.paho_thread import stop_network_thread

if TYPE_CHECKING:
    from tests.system.conftest import Earmark, Mosquitto

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("household")]

Wait = Callable[[Callable[[], object], str], None]
Status = dict[str, Any]


class Reader:
    """A client like Home Assistant's: the last status since it connected."""

    def __init__(self, port: int) -> None:
        self.status: Status = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._subscribe
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _subscribe(self, client: paho.Client, *_: object) -> None:
        self.status = {}
        client.subscribe("earmark/v1/status/hall")

    def _take(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.status = json.loads(message.payload)

    def close(self) -> None:
        stop_network_thread(self._client)

    def shows(self, **fields: object) -> bool:
        return {name: self.status.get(name) for name in fields} == fields


@pytest.fixture
def listening(earmark: "Earmark", tmp_path: Path) -> Callable[[], None]:
    """Return what starts hear on ten minutes of a quiet room."""
    recording = tmp_path / "quiet.wav"
    noise = np.random.default_rng(1).integers(-20, 20, 16_000 * 600).astype(np.int16)
    soundfile.write(recording, noise, 16_000, subtype="PCM_16")
    with (tmp_path / "earmark.toml").open("a") as config:
        config.write(f'attribution.keeper = "ada"\nmicrophone.files = ["{recording}"]\n')

    def start() -> None:
        earmark.start("hear", "--json")

    return start


@pytest.mark.timeout(240)
def test_status_is_true_after_every_start_and_kill(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    listening: Callable[[], None],
    wait_until: Wait,
) -> None:
    def wait_for(what: str, **fields: object) -> None:
        wait_until(lambda: reader.shows(state="online", **fields), f"{what}: {fields}")

    listening()
    wait_until(lambda: '"started"' in earmark.said("hear"), "hear starts")
    earmark.start("send")
    mosquitto.start()
    reader = Reader(mosquitto.port)
    try:
        wait_for("hear first, then send", hearing=True, mute="open", microphone="open")
        assert reader.status["switch"] == "none"
        assert list(reader.status["thresholds"]) == ["alexa"]

        assert earmark.run("mute", "on").returncode == 0
        wait_for("muted", mute="software")
        earmark.kill("send")
        wait_until(lambda: reader.status == {"state": "offline"}, "the last will")
        earmark.start("send")
        wait_for("send killed while muted", hearing=True, mute="software", switch="none")

        mosquitto.kill()
        mosquitto.start()
        wait_for("broker killed", hearing=True, mute="software")

        earmark.kill("hear")
        wait_for("hear killed", hearing=None, mute=None, microphone=None, thresholds=None)

        listening()
        wait_for("hear restarted", hearing=True, mute="software")
        assert earmark.run("mute", "off").returncode == 0
        wait_for("no longer muted", hearing=True, mute="open")

        earmark.kill("hear", signal.SIGTERM)
        wait_for("hear stopped", hearing=False, mute=None)
    finally:
        reader.close()
