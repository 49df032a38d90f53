"""Voice control through a real send and mosquitto; the test stands for hear, player and assist."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import paho.mqtt.client as paho
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from listener.config import SpoolSettings
from listener.ipc import notices, voice_paths
from listener.ipc.datagrams import Inbox
from listener.ipc.notice_socket import SOCKET, NoticeSender
from listener.mqtt.paho_thread import stop_network_thread
from listener.spool.queue import Spool
from listener.voice.limits import LONGEST_FILE_BYTES, LONGEST_MESSAGE_BYTES
from listener.voice.messages import Ask, VoiceStatus, sign_message
from tests.ports import find_free_port

if TYPE_CHECKING:
    from tests.conftest import Household
    from tests.system.conftest import Earmark, Mosquitto

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

Wait = Callable[[Callable[[], object], str], None]
ASK, OTHER = "a" * 32, "b" * 32
ANSWER, SAY, STATUS = "earmark/v1/answer/hall", "earmark/v1/say/hall", "earmark/v1/status/hall"
KEY = Ed25519PrivateKey.generate()


def reply(ask: str, length: int) -> bytes:
    return f'EARMARK-REPLY/1\n{{"age_ms":0,"ask":"{ask}"}}\n'.encode() + os.urandom(length)


def signed_ask() -> bytes:
    asked = Ask(
        ask=ASK,
        assist="a" * 24,
        device="hall",
        dkey="b" * 24,
        level_db=-20,
        reply="age1" + "q" * 58,
        since_ms=120,
        why="wake",
    )
    return sign_message(asked, KEY.sign)


class Assist:
    """A client of the broker that sees all of Earmark's topics."""

    def __init__(self, port: int) -> None:
        self.messages: list[paho.MQTTMessage] = []
        self.is_connected = False
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, "s-assist", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = lambda _client, _data, message: self.messages.append(message)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _subscribe(self, client: paho.Client, *_: object) -> None:
        client.subscribe("earmark/v1/#", 1)

    def _on_subscribe(self, *_: object) -> None:
        self.is_connected = True

    def say(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos, retain)

    def got(self, kind: str) -> list[paho.MQTTMessage]:
        return [message for message in self.messages if f"/{kind}/" in message.topic]

    def status(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.got("status")[-1].payload)
        return found

    def close(self) -> None:
        self._client.disconnect()
        stop_network_thread(self._client)


class Speaker:
    """What hear and the player have on the speaker."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "run" / "voice"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._notices = NoticeSender(home / SOCKET)
        self._answers = Inbox(self.folder / voice_paths.VOICE_SOCKET, LONGEST_MESSAGE_BYTES)
        self._wakeups = Inbox(self.folder / voice_paths.PLAYER_SOCKET, 1)
        self.heard: list[bytes] = []

    def tell(self, notice: notices.Notice) -> bool:
        return self._notices.send(notice)

    def lay(self, name: str, data: bytes) -> None:
        folder = self.folder / voice_paths.COPIES
        folder.mkdir(exist_ok=True)
        hidden = folder / f".{name}.part"
        hidden.write_bytes(data)
        hidden.rename(folder / name)

    def copies(self) -> list[str]:
        return [path.name for path in (self.folder / voice_paths.COPIES).iterdir()]

    def replies(self) -> list[str]:
        return [path.name for path in (self.folder / voice_paths.REPLIES).iterdir()]

    def listen(self) -> list[bytes]:
        self.heard += self._answers.receive()
        return self.heard

    def was_woken(self) -> bool:
        return bool(list(self._wakeups.receive()))

    def close(self) -> None:
        self._notices.close()
        self._answers.close()
        self._wakeups.close()


@pytest.fixture
def speaker(home: Path) -> Iterator[Speaker]:
    made = Speaker(home)
    yield made
    made.close()


@pytest.fixture
def assist(mosquitto: "Mosquitto", wait_until: Wait) -> Iterator[Assist]:
    mosquitto.start()
    made = Assist(mosquitto.port)
    wait_until(lambda: made.is_connected, "assist is connected")
    yield made
    made.close()


@pytest.fixture
def send(earmark: "Earmark", assist: Assist, wait_until: Wait) -> "Earmark":
    earmark.start("send")
    wait_until(lambda: assist.got("status"), "send is connected")
    return earmark


@pytest.mark.usefixtures("send")
def test_ask_answer_copy_outcome_and_reply_pass(
    assist: Assist, speaker: Speaker, wait_until: Wait
) -> None:
    asked = signed_ask()
    speaker.tell(notices.AskNotice(message=msgspec.Raw(asked)))
    wait_until(lambda: assist.got("ask"), "the ask")
    assist.say(ANSWER, b"an answer")
    wait_until(lambda: speaker.listen() == [b"an answer"], "the answer")
    copy = os.urandom(LONGEST_FILE_BYTES)
    speaker.lay(f"{ASK}.1", copy)
    speaker.tell(notices.CopyNotice())
    wait_until(lambda: assist.got("spoken"), "the copy")
    assist.say(ANSWER, b"an outcome")
    wait_until(lambda: speaker.listen() == [b"an answer", b"an outcome"], "the outcome")
    said = reply(ASK, 500_000)
    assist.say(SAY, said)
    wait_until(speaker.was_woken, "the player is woken")

    (ask,), (spoken,) = assist.got("ask"), assist.got("spoken")
    assert (ask.topic, ask.payload) == ("earmark/v1/ask/hall", asked)
    assert (spoken.topic, spoken.payload) == (f"earmark/v1/spoken/hall/{ASK}", copy)
    for message, expiry_s in ((ask, 3), (spoken, 10)):
        assert (message.qos, message.retain) == (0, False)
        assert 0 < message.properties.MessageExpiryInterval <= expiry_s  # type: ignore[union-attr] # MQTT 5
    assert (speaker.copies(), speaker.replies()) == ([], [ASK])
    assert (speaker.folder / voice_paths.REPLIES / ASK).read_bytes() == said


def test_nothing_old_passes_when_send_starts(
    earmark: "Earmark", assist: Assist, speaker: Speaker, wait_until: Wait
) -> None:
    assist.say(ANSWER, b"retained", retain=True, qos=1)
    assist.say(SAY, reply(ASK, 100), retain=True, qos=1)
    speaker.lay(f"{ASK}.1", b"for an earlier send")
    (speaker.folder / voice_paths.REPLIES).mkdir()
    (speaker.folder / voice_paths.REPLIES / ASK).write_bytes(b"for an earlier player")

    earmark.start("send")
    wait_until(lambda: assist.got("status"), "send is connected")
    assist.say(ANSWER, b"live")
    wait_until(speaker.listen, "the live answer")
    assert speaker.heard == [b"live"]

    earmark.kill("send")
    wait_until(lambda: assist.status() == {"state": "offline"}, "the last will")
    assist.say(ANSWER, b"while send was away", qos=1)
    assist.say(SAY, reply(OTHER, 100), qos=1)
    speaker.lay(f"{OTHER}.1", b"while send was away")
    earmark.start("send")
    wait_until(lambda: assist.status() != {"state": "offline"}, "send is connected again")
    assist.say(ANSWER, b"live again")
    wait_until(lambda: b"live again" in speaker.listen(), "the second live answer")

    assert speaker.heard == [b"live", b"live again"], "no session outlives its connection"
    assert (speaker.copies(), speaker.replies()) == ([], [])
    assert assist.got("spoken") == []


def test_copy_without_a_broker_never_leaves(
    mosquitto: "Mosquitto", send: "Earmark", assist: Assist, speaker: Speaker, wait_until: Wait
) -> None:
    mosquitto.kill()
    wait_until(lambda: "no connection to the broker" in send.said("send"), "send noticed")
    speaker.lay(f"{ASK}.1", b"too late")
    speaker.tell(notices.CopyNotice())
    speaker.tell(notices.AskNotice(message=msgspec.Raw(signed_ask())))
    wait_until(lambda: speaker.copies() == [], "the copy is removed")

    assist.messages.clear()
    mosquitto.start()
    wait_until(lambda: assist.got("status"), "send is connected again")
    wait_until(lambda: assist.status().get("copies_dropped") == 1, "the loss is shown")
    speaker.lay(f"{OTHER}.1", b"in time")
    wait_until(lambda: assist.got("spoken"), "a later copy, without a notice")

    assert [message.payload for message in assist.got("spoken")] == [b"in time"]
    assert assist.got("ask") == []


def test_muted_copy_is_not_sent(
    send: "Earmark", assist: Assist, speaker: Speaker, wait_until: Wait
) -> None:
    """A process that has stopped finds what hear has removed meanwhile to be gone."""
    os.kill(send.pid("send"), signal.SIGSTOP)
    speaker.lay(f"{ASK}.1", b"muted")
    speaker.tell(notices.CopyNotice())
    (speaker.folder / voice_paths.COPIES / f"{ASK}.1").unlink()
    os.kill(send.pid("send"), signal.SIGCONT)
    speaker.lay(f"{OTHER}.1", b"later")
    wait_until(lambda: assist.got("spoken"), "the later copy")

    assert [message.payload for message in assist.got("spoken")] == [b"later"]
    assert "copies_dropped" not in assist.status()


@pytest.mark.usefixtures("send")
def test_consents_and_voice_statuses_pass(
    assist: Assist, speaker: Speaker, wait_until: Wait
) -> None:
    assist.say("earmark/v1/consents/hall", b"[]", qos=1, retain=True)
    wait_until((speaker.home / "spool" / "consents.json").exists, "the consents")
    assert (speaker.home / "spool" / "consents.json").read_bytes() == b"[]"

    signed = {}
    for owner, copies in (("bob", 1), ("ada", 1), ("ada", 2)):
        status = VoiceStatus(
            asks=3,
            assist="a" * 24,
            boot="0" * 16,
            copies=copies,
            device="hall",
            n=7,
            on=1,
            owner=owner,
        )
        signed[owner] = sign_message(status, KEY.sign)
        speaker.tell(notices.VoiceNotice(message=msgspec.Raw(signed[owner])))
    speaker.tell(notices.CommandNotice(end="not-understood"))
    wanted = [json.loads(signed[owner]) for owner in ("ada", "bob")]

    wait_until(lambda: assist.status().get("voice") == wanted, "both statuses")
    events = [message.payload for message in assist.got("event")]
    assert events == [b'{"event_type":"command","outcome":"not-understood"}']
    assert signed["ada"] in assist.got("status")[-1].payload, "byte for byte"


def test_flood_of_messages_costs_no_clip_and_little_memory(
    earmark: "Earmark",
    assist: Assist,
    speaker: Speaker,
    household: "Household",
    wait_until: Wait,
) -> None:
    earmark.is_weighed = True
    earmark.start("archive")
    earmark.start("send")
    wait_until(lambda: assist.got("status"), "send is connected")
    process = psutil.Process(earmark.pid("send"))
    resident_bytes = process.memory_info().rss
    spool = Spool(household.home.path / "spool", SpoolSettings())
    for number in range(40):
        assist.say(SAY, reply(ASK, 500_000))
        for _ in range(25):
            assist.say(ANSWER, os.urandom(LONGEST_MESSAGE_BYTES))
        if number % 10 == 0:
            header = household.header(household.home.next_seq(), "ada")
            data = household.seal(header, lambda _: b"fLaC" + os.urandom(6_000))
            spool.put(header.clip, "ada", header.seq, data)
    wait_until(lambda: spool.counts().acked == 4, "every clip is acknowledged")

    def is_last_heard() -> bool:
        # Said again each time: QoS 0, and the queues of broker and socket may still be full.
        assist.say(ANSWER, b"last")
        return b"last" in speaker.listen()

    wait_until(is_last_heard, "the answer after the flood")

    assert process.memory_info().rss - resident_bytes < 16 << 20
    assert len(speaker.replies()) == 1


def test_long_messages_pass_over_tls_even_in_a_flood(
    mosquitto: "Mosquitto",
    earmark: "Earmark",
    speaker: Speaker,
    tmp_path: Path,
    pki: Path,
    wait_until: Wait,
) -> None:
    with (tmp_path / "earmark.toml").open("a") as config:
        config.write(f'broker.ca_file = "{pki}/ca.pem"\n')
    plain_port = find_free_port()
    mosquitto.start(
        f"listener {plain_port} 127.0.0.1",
        listener=f"allow_anonymous true\ncertfile {pki}/broker.pem\nkeyfile {pki}/broker.key\n"
        "tls_version tlsv1.3",
    )
    assist = Assist(plain_port)
    try:
        wait_until(lambda: assist.is_connected, "assist is connected")
        earmark.start("send")
        wait_until(lambda: assist.got("status"), "send is connected")
        for number in range(12):
            assist.say(SAY, reply(f"{number:032x}", 500_000))
            assist.say(ANSWER, f"answer {number}".encode(), qos=1)
        copy = os.urandom(LONGEST_FILE_BYTES)
        speaker.lay(f"{ASK}.1", copy)
        speaker.tell(notices.CopyNotice())
        wait_until(lambda: b"answer 11" in speaker.listen(), "the last answer")
        wait_until(lambda: speaker.replies() == [f"{11:032x}"], "the last reply")
        wait_until(lambda: assist.got("spoken"), "the copy")
        assert assist.got("spoken")[0].payload == copy
    finally:
        assist.close()
