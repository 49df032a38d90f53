"""Voice control through send: within bounds, unread, and never late."""

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.config import SpoolSettings
from listener.ipc import notices, voice_paths
from listener.ipc.datagrams import Inbox
from listener.ipc.notice_socket import NoticeSender, NoticeSocket
from listener.mqtt.client import BrokerLimits, ConnectedEvent, ConnectionLostEvent, Message
from listener.send.delivery import ClipDelivery
from listener.send.loop import Sender
from listener.send.voice_relay import VoiceRelay
from listener.spool.queue import Spool
from listener.voice.limits import LONGEST_FILE_BYTES, LONGEST_MESSAGE_BYTES
from listener.voice.timing import COPY_S, REPLY_S

if TYPE_CHECKING:
    from tests.send.conftest import FakeBroker, FakeClock

LIMITS = BrokerLimits()
ASK, OTHER, THIRD = "a" * 32, "b" * 32, "c" * 32
ANSWER_TOPIC = "earmark/v1/answer/hall"
SAY_TOPIC = "earmark/v1/say/hall"


def reply(ask: str = ASK, length: int = 100) -> bytes:
    header = f'{{"age_ms":0,"ask":"{ask}","codec":"flac","device":"hall"}}'
    return f"EARMARK-REPLY/1\n{header}\n".encode() + b"x" * length


class Place:
    """The folder of voice control as hear and the player see it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lay(self, name: str = f"{ASK}.1", data: bytes = b"copy") -> Path:
        path = self.folder / voice_paths.COPIES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def copies(self) -> list[str]:
        return sorted(path.name for path in (self.folder / voice_paths.COPIES).iterdir())

    def replies(self) -> list[str]:
        return sorted(path.name for path in (self.folder / voice_paths.REPLIES).iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "voice")


@pytest.fixture
def relay(place: Place, broker: "FakeBroker", clock: "FakeClock") -> Iterator[VoiceRelay]:
    made = VoiceRelay("hall", place.folder, broker, clock)
    yield made
    made.close()


@pytest.fixture
def hear(place: Place, relay: VoiceRelay) -> Iterator[Inbox]:
    del relay  # it has made the folder
    made = Inbox(place.folder / voice_paths.VOICE_SOCKET, LONGEST_MESSAGE_BYTES, is_for_group=True)
    yield made
    made.close()


def test_ask_is_published_unread_and_never_late(relay: VoiceRelay, broker: "FakeBroker") -> None:
    relay.publish_ask(b"\xffwhatever hear signed", connected=False)
    relay.publish_ask(b"x" * (LONGEST_MESSAGE_BYTES + 1), connected=True)
    assert broker.published == []

    relay.publish_ask(b"\xffwhatever hear signed", connected=True)

    assert broker.published == [
        Message("earmark/v1/ask/hall", b"\xffwhatever hear signed", 0, retain=False, expiry_s=3)
    ]


def test_copy_is_published_once_and_is_gone(
    relay: VoiceRelay, broker: "FakeBroker", place: Place
) -> None:
    path = place.lay(f"{ASK}.2", b"sealed")

    relay.turn(LIMITS)
    relay.turn(LIMITS)

    topic = f"earmark/v1/spoken/hall/{ASK}"
    assert broker.published == [Message(topic, b"sealed", 0, retain=False, expiry_s=10)]
    assert not path.exists()
    assert relay.dropped == 0


def test_copies_found_at_the_start_are_removed_unpublished(
    broker: "FakeBroker", clock: "FakeClock", place: Place
) -> None:
    for part in (1, 2, 3):
        place.lay(f"{ASK}.{part}")
    (place.folder / voice_paths.REPLIES).mkdir()
    (place.folder / voice_paths.REPLIES / ASK).write_bytes(reply())
    (place.folder / voice_paths.REPLIES / f".{ASK}.part").write_bytes(b"half")

    relay = VoiceRelay("hall", place.folder, broker, clock)
    relay.turn(LIMITS)
    relay.close()

    assert (place.copies(), place.replies()) == ([], [])
    assert broker.published == []
    assert relay.dropped == 3


def test_copy_without_a_broker_is_removed(
    relay: VoiceRelay, broker: "FakeBroker", place: Place
) -> None:
    place.lay()
    relay.turn(None)
    relay.turn(LIMITS)

    assert place.copies() == []
    assert broker.published == []
    assert relay.dropped == 1


def test_copies_that_may_be_too_old_are_removed(
    relay: VoiceRelay, broker: "FakeBroker", clock: "FakeClock", place: Place
) -> None:
    relay.turn(LIMITS)
    clock.now_s += COPY_S
    place.lay()
    relay.turn(LIMITS)
    assert len(broker.published) == 1, "at most as old as allowed"

    for step_s in (COPY_S + 0.1, -1.0):
        clock.now_s += step_s
        place.lay()
        relay.turn(LIMITS)

    assert len(broker.published) == 1
    assert (place.copies(), relay.dropped) == ([], 2)


def test_third_copy_is_removed_unpublished(
    relay: VoiceRelay, broker: "FakeBroker", place: Place
) -> None:
    for at, ask in enumerate((THIRD, ASK, OTHER)):
        os.utime(place.lay(f"{ask}.1", ask.encode()), (at, at))

    relay.turn(LIMITS)

    assert [message.payload for message in broker.published] == [THIRD.encode(), ASK.encode()]
    assert (place.copies(), relay.dropped) == ([], 1)


def test_files_that_are_no_copies_are_not_touched(
    relay: VoiceRelay, broker: "FakeBroker", place: Place, tmp_path: Path
) -> None:
    names = [f".{ASK}.1.part", "counts", f"{ASK}.4", f"{ASK.upper()}.1"]
    for name in names:
        place.lay(name)
    (tmp_path / "secret").write_text("not a copy")
    (place.folder / voice_paths.COPIES / f"{ASK}.1").symlink_to(tmp_path / "secret")
    (place.folder / voice_paths.COPIES / f"{ASK}.2").mkdir()
    os.mkfifo(place.folder / voice_paths.COPIES / f"{ASK}.3")

    relay.turn(LIMITS)

    assert broker.published == []
    assert place.copies() == sorted(names)
    assert (tmp_path / "secret").exists()
    assert relay.dropped == 3


def test_copy_that_is_empty_or_too_long_is_removed(
    relay: VoiceRelay, broker: "FakeBroker", place: Place
) -> None:
    place.lay(f"{ASK}.1", b"")
    place.lay(f"{ASK}.2", b"x" * (LONGEST_FILE_BYTES + 1))
    relay.turn(LIMITS)
    place.lay(f"{ASK}.1", b"x" * LONGEST_FILE_BYTES)
    relay.turn(BrokerLimits(packet_bytes=LONGEST_FILE_BYTES))
    assert (broker.published, place.copies(), relay.dropped) == ([], [], 3)

    place.lay(f"{ASK}.1", b"x" * LONGEST_FILE_BYTES)
    relay.turn(LIMITS)
    assert len(broker.published) == 1


def test_copy_that_the_client_does_not_take_is_counted(
    relay: VoiceRelay, broker: "FakeBroker", place: Place
) -> None:
    broker.full = True
    place.lay()
    relay.turn(LIMITS)

    assert (place.copies(), relay.dropped) == ([], 1)


def test_copy_that_hear_removes_meanwhile_is_not_published(
    relay: VoiceRelay, broker: "FakeBroker", place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.lay()
    unlink = os.unlink

    def mute_first(name: str, dir_fd: int | None = None) -> None:
        monkeypatch.setattr(os, "unlink", unlink)
        unlink(name, dir_fd=dir_fd)
        unlink(name, dir_fd=dir_fd)  # this is send's

    monkeypatch.setattr(os, "unlink", mute_first)
    relay.turn(LIMITS)

    assert broker.published == []
    assert relay.dropped == 0, "hear counts what it removed"


def test_missing_or_foreign_folder_is_logged_once(
    broker: "FakeBroker", clock: "FakeClock", tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "voice").write_text("in the way")
    relay = VoiceRelay("hall", tmp_path / "voice", broker, clock)
    for _ in range(3):
        relay.turn(LIMITS)
        relay.take(Message(SAY_TOPIC, reply(), 0))

    assert len(caplog.records) == 2, "one for each folder"
    relay.close()


@pytest.mark.parametrize("payload", [b"\xff", b'{"poke":"say"}', b"x" * LONGEST_MESSAGE_BYTES])
def test_answers_go_to_hear_unread(relay: VoiceRelay, hear: Inbox, payload: bytes) -> None:
    relay.take(Message(ANSWER_TOPIC, payload, 0))
    relay.take(Message("earmark/v1/answer/kitchen", b"another's", 0))

    assert list(hear.receive()) == [payload]
    assert relay.ignored == 0


def test_retained_and_long_answers_are_ignored(relay: VoiceRelay, hear: Inbox) -> None:
    relay.take(Message(ANSWER_TOPIC, b"old", 0, retain=True))
    relay.take(Message(ANSWER_TOPIC, b"x" * (LONGEST_MESSAGE_BYTES + 1), 0))
    relay.take(Message(ANSWER_TOPIC, b"", 0))

    assert list(hear.receive()) == []
    assert relay.ignored == 3


def test_answers_without_hear_are_lost(relay: VoiceRelay, place: Place) -> None:
    relay.take(Message(ANSWER_TOPIC, b"too early", 0))
    inbox = Inbox(place.folder / voice_paths.VOICE_SOCKET, LONGEST_MESSAGE_BYTES)

    assert list(inbox.receive()) == []
    inbox.close()


def test_reply_is_laid_for_the_player(relay: VoiceRelay, place: Place) -> None:
    player = Inbox(place.folder / voice_paths.PLAYER_SOCKET, 1)
    relay.take(Message(SAY_TOPIC, reply(), 0))

    assert place.replies() == [ASK]
    path = place.folder / voice_paths.REPLIES / ASK
    assert path.read_bytes() == reply()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(player.receive()) == [b""]
    player.close()


def test_reply_does_not_wait_for_a_disk(
    relay: VoiceRelay, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fsync")

    relay.take(Message(SAY_TOPIC, reply(), 0))

    assert place.replies() == [ASK]


def test_reply_in_a_shared_folder_is_for_its_group(relay: VoiceRelay, place: Place) -> None:
    (place.folder / voice_paths.REPLIES).chmod(0o2770)
    relay.take(Message(SAY_TOPIC, reply(), 0))

    path = place.folder / voice_paths.REPLIES / ASK
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_newest_reply_replaces_the_one_before(relay: VoiceRelay, place: Place) -> None:
    for ask in (ASK, OTHER, OTHER):
        relay.take(Message(SAY_TOPIC, reply(ask), 0))

    assert place.replies() == [OTHER]


def test_reply_that_the_player_does_not_take_is_removed(
    relay: VoiceRelay, place: Place, clock: "FakeClock"
) -> None:
    relay.take(Message(SAY_TOPIC, reply(), 0))
    clock.now_s += REPLY_S
    relay.turn(None)
    assert place.replies() == [ASK]

    clock.now_s += 0.1
    relay.turn(None)
    assert place.replies() == []


@pytest.mark.parametrize(
    "message",
    [
        Message(SAY_TOPIC, reply(), 0, retain=True),
        Message(SAY_TOPIC, reply(length=LONGEST_FILE_BYTES), 0),
        Message(SAY_TOPIC, b"", 0),
        Message(SAY_TOPIC, b"EARMARK-COMMAND/1\n" + reply()[16:], 0),
        Message(SAY_TOPIC, reply("../../../../../home/ada/.ssh/id"), 0),
        Message("earmark/v1/say/kitchen", reply(), 0),
    ],
)
def test_what_is_no_reply_to_this_device_is_not_laid(
    relay: VoiceRelay, place: Place, message: Message
) -> None:
    relay.take(message)

    assert place.replies() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    topic=st.sampled_from([ANSWER_TOPIC, SAY_TOPIC, "earmark/v1/keys/hall"]),
    payload=st.binary(max_size=600) | st.binary(max_size=100).map(lambda tail: reply() + tail),
    retain=st.booleans(),
)
def test_any_message_is_safe(
    relay: VoiceRelay, place: Place, topic: str, payload: bytes, *, retain: bool
) -> None:
    relay.take(Message(topic, payload, 0, retain=retain))

    assert len(place.replies()) <= 1
    assert place.copies() == []


def test_end_leaves_nothing(broker: "FakeBroker", clock: "FakeClock", place: Place) -> None:
    relay = VoiceRelay("hall", place.folder, broker, clock)
    relay.take(Message(SAY_TOPIC, reply(), 0))
    place.lay()

    relay.close()

    assert (place.copies(), place.replies()) == ([], [])
    assert broker.published == []


@pytest.fixture
def sender(
    tmp_path: Path,
    relay: VoiceRelay,
    broker: "FakeBroker",
    clock: "FakeClock",
    notice_socket: NoticeSocket,
) -> Sender:
    return Sender(
        ClipDelivery(Spool(tmp_path / "spool", SpoolSettings()), "hall", 5.0),
        broker,
        notice_socket=notice_socket,
        voice=relay,
        monotonic_s=clock,
    )


def signed_ask() -> bytes:
    signature = base64.b64encode(Ed25519PrivateKey.generate().sign(b"x")).decode()
    return f'{{"ask":{{"ask":"{ASK}"}},"signature":"{signature}"}}'.encode()


def test_loop_relays_both_ways(
    sender: Sender, broker: "FakeBroker", notifier: NoticeSender, hear: Inbox, place: Place
) -> None:
    broker.happens.append(ConnectedEvent(LIMITS, "5"))
    sender.turn(0.0)
    assert broker.subscribed[-2:] == [ANSWER_TOPIC, SAY_TOPIC]
    asked = signed_ask()

    notifier.send(notices.AskNotice(message=msgspec.Raw(asked)))
    sender.turn(0.0)
    broker.happens.append(Message(ANSWER_TOPIC, b"an answer", 0))
    sender.turn(0.0)
    place.lay()
    notifier.send(notices.CopyNotice())
    sender.turn(0.0)

    sent = [one for one in broker.published if one.qos == 0]
    assert [(one.topic, one.payload) for one in sent] == [
        ("earmark/v1/ask/hall", asked),
        (f"earmark/v1/spoken/hall/{ASK}", b"copy"),
    ]
    assert list(hear.receive()) == [b"an answer"]


def test_loop_without_a_connection_removes_copies_and_drops_asks(
    sender: Sender, broker: "FakeBroker", notifier: NoticeSender, place: Place
) -> None:
    broker.happens.append(ConnectionLostEvent("Connection refused"))
    notifier.send(notices.AskNotice(message=msgspec.Raw(signed_ask())))
    place.lay()
    sender.turn(0.0)
    broker.happens.append(ConnectedEvent(LIMITS, "5"))
    for _ in range(3):
        sender.turn(60.0)

    assert [one for one in broker.published if one.qos == 0] == []
    assert place.copies() == []
    assert b'"copies_dropped":1' in broker.published[-1].payload
