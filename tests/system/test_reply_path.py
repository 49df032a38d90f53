"""A reply through real broker, send, hear and player; the test plays owner and assist."""

import itertools
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import paho.mqtt.client as paho
import pytest

from listener.audio.pcm import Samples
from listener.audio.tones import synthesize_ring
from listener.envelope import keys
from listener.ipc.playback_locks import TAIL_S
from listener.ipc.voice_paths import HOME_FOLDER, REPLY_KEY
from listener.voice.messages import Ask
from listener.voice.reply import ReplyHeader, seal_reply
from tests import cards
from tests.system.test_voice_path import FIXTURES, PlayedAssist, is_poked

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.system.conftest import Earmark, Mosquitto

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

Wait = Callable[[Callable[[], object], str], None]
RATE_HZ = 16_000
LOUDSPEAKER = "earmark-loud"


class SpeakingAssist(PlayedAssist):
    """An assist that also replies: to a command with noise, to a poke with a ring."""

    def __init__(self, port: int, household: "Household") -> None:
        self.replies: list[bytes] = []
        self.noise: Samples = (
            np.random.default_rng(5).integers(-9_000, 9_000, RATE_HZ).astype(np.int16)
        )
        self.ring = synthesize_ring(RATE_HZ, 10.0, TAIL_S, 0.5)
        super().__init__(port, household)

    def reply_to(self, ask: Ask, samples: Samples) -> None:
        assert ask.reply is not None
        header = ReplyHeader(age_ms=0, ask=ask.ask, device="hall", key=keys.owner_id(ask.reply))
        self.replies.append(seal_reply(header, samples, RATE_HZ, ask.reply, self.key))
        self.say(self.replies[-1])

    def say(self, reply: bytes) -> None:
        self._client.publish("earmark/v1/say/hall", reply)

    def _take(self, client: object, data: object, message: paho.MQTTMessage) -> None:
        super()._take(client, data, message)
        kind = message.topic.split("/")[2]
        if kind == "spoken":
            self.reply_to(self.asks[-1], self.noise)
        elif kind == "ask" and self.asks[-1].why == "poke":
            self.reply_to(self.asks[-1], self.ring)


@pytest.fixture
def assist(mosquitto: "Mosquitto", household: "Household") -> Iterator[SpeakingAssist]:
    mosquitto.start()
    made = SpeakingAssist(mosquitto.port, household)
    yield made
    made.close()


def sounded(file: Path) -> Samples:
    data = file.read_bytes() if file.exists() else b""
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2")


def test_reply_sounds_once_and_a_mute_ends_a_ring(
    earmark: "Earmark",
    assist: SpeakingAssist,
    household: "Household",
    tmp_path: Path,
    wait_until: Wait,
) -> None:
    voice = household.home.path / HOME_FOLDER
    loudspeaker = voice / "loudspeaker.raw"
    # Appended: ALSA's file would begin anew with each sound.
    card = f'type file; slave.pcm "null"; file "|cat >> {loudspeaker}"; format raw'
    earmark.environment[cards.VARIABLE] = cards.write_settings(tmp_path, **{LOUDSPEAKER: card})
    names = itertools.chain(["quiet", "alexa_command"], ["quiet"] * 60)
    files = [str(FIXTURES / f"{name}.flac") for name in names]
    with (tmp_path / "earmark.toml").open("a") as config:
        config.write(
            f'attribution.keeper = "ada"\nmicrophone.files = {json.dumps(files)}\n'
            f'player.device = "{LOUDSPEAKER}"\nplayer.volume = 1.0\n'
        )
    assist.consent(household, 7, on=1)
    earmark.start("send")
    wait_until((household.home.path / "spool" / "consents.json").exists, "the consent is stored")
    earmark.start("play", "--verbose")
    wait_until((voice / REPLY_KEY).exists, "a reply key lies ready")
    earmark.start("hear", "--json")

    # The outcome's own sound and the reply, in any order.
    wait_until(lambda: is_in(assist.noise, sounded(loudspeaker)), "the reply sounds")
    assert count(assist.noise, sounded(loudspeaker)) == 1
    assert assist.asks[0].reply != (voice / REPLY_KEY).read_text().strip()
    assert not any((voice / "replies").iterdir())

    assist.say(assist.replies[0])
    wait_until(lambda: "a reply was not played" in earmark.said("play"), "the second is refused")

    before = len(sounded(loudspeaker))
    wait_until(lambda: is_poked(assist, 2), "the ask of a poke")
    wait_until(lambda: len(sounded(loudspeaker)) > before, "the first burst sounds")
    assert earmark.run("mute", "on").returncode == 0
    at_mute = len(sounded(loudspeaker))
    until_s = time.monotonic() + len(assist.ring) / RATE_HZ
    wait_until(lambda: time.monotonic() > until_s, "the ring would be over")
    assert len(sounded(loudspeaker)) == at_mute, "no further burst"
    assert count(assist.noise, sounded(loudspeaker)) == 1
    assert not any((voice / "replies").iterdir())
    assert earmark.kill("play", signal.SIGTERM) == 0


def is_in(part: Samples, whole: Samples) -> bool:
    return count(part, whole) > 0


def count(part: Samples, whole: Samples) -> int:
    return whole.tobytes().count(part.tobytes())
