"""What the archive has for a speaker: obeyed where it is signed, laid down where hear judges.

Commands from the broker: forwarded to hear, and nothing more.
"""

import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from listener.config import SpoolSettings
from listener.envelope import keys
from listener.ipc.control import (
    ControlClient,
    ControlSocket,
    MuteRequest,
    ThresholdRequest,
    UnmuteRequest,
    WordRequest,
)
from listener.mqtt import retention, sequence, topics
from listener.mqtt.client import (
    BrokerEvent,
    BrokerLimits,
    ConnectedEvent,
    DeliveredEvent,
    Message,
    Waitable,
)
from listener.mqtt.retention import RetentionLimit
from listener.mqtt.sequence import AcceptedSequence
from listener.send.delivery import ClipDelivery
from listener.send.inbound import LONGEST_FOLLOWING_BYTES, InboundMessages
from listener.send.loop import Sender
from listener.spool.queue import Spool
from listener.storage.home import Home
from listener.voice.limits import LONGEST_CONSENTS_BYTES

if TYPE_CHECKING:
    from tests.send.conftest import FakeBroker, FakeClock

ARCHIVE = Ed25519PrivateKey.generate()
DAY_S = 86_400


@pytest.fixture
def pinned(home: Path) -> Path:
    Home(home).pin_archive(ARCHIVE.public_key())
    return home


def term(days: int, n: int, owner: str = "ada", key: Ed25519PrivateKey = ARCHIVE) -> Message:
    payload = retention.encode(RetentionLimit(owner=owner, days=days, n=n), key.sign)
    return Message(f"earmark/v1/retention/{owner}", payload, 1, retain=True)


def test_newest_retention_limit_is_stored(pinned: Path) -> None:
    inbound = InboundMessages(pinned, "hall")

    assert inbound.take(term(7, 1))
    assert inbound.take(term(2, 2))
    assert not inbound.take(term(2, 2))
    assert not inbound.take(term(1, 1)), "an old choice, said again"

    assert inbound.longest_s() == {"ada": 2 * DAY_S}
    assert InboundMessages(pinned, "hall").longest_s() == {"ada": 2 * DAY_S}
    assert (pinned / "spool" / "retention.json").stat().st_mode & 0o777 == 0o600
    assert inbound.take(term(30, 3)), "hers to lengthen again; the spool's own bound holds still"


@pytest.mark.parametrize(
    "message",
    [
        term(1, 1, key=Ed25519PrivateKey.generate()),
        Message("earmark/v1/retention/bob", term(1, 1).payload, 1, retain=True),
        Message("earmark/v1/retention/ada", b"1", 1, retain=True),
        Message("earmark/v1/retention/ada", b"", 1, retain=True),
        Message("earmark/v1/retention/ada", b"x" * 5000, 1, retain=True),
    ],
)
def test_limit_without_a_valid_signature_is_ignored(pinned: Path, message: Message) -> None:
    inbound = InboundMessages(pinned, "hall")

    assert not inbound.take(message)

    assert inbound.longest_s() == {}
    assert inbound.ignored == 1
    assert not (pinned / "spool" / "retention.json").exists()


def test_number_of_owners_is_limited(pinned: Path) -> None:
    inbound = InboundMessages(pinned, "hall")

    for number in range(70):
        inbound.take(term(1, 1, owner=f"owner-{number}"))

    assert len(inbound.longest_s()) == 64


@pytest.mark.parametrize("pin", [None, b"ed25519:???", b"\xff"])
def test_limits_are_ignored_without_a_pinned_key(home: Path, pin: bytes | None) -> None:
    if pin is not None:
        (home / "archive.pub").write_bytes(pin)
    inbound = InboundMessages(home, "hall")

    inbound.take(term(1, 1))

    assert inbound.topics[0] == "earmark/v1/keys/hall"
    assert inbound.longest_s() == {}


def test_damaged_limits_file_is_ignored(pinned: Path) -> None:
    (pinned / "spool").mkdir()
    (pinned / "spool" / "retention.json").write_bytes(b"{")

    assert InboundMessages(pinned, "hall").longest_s() == {}


def test_key_rotation_is_stored_unread(home: Path) -> None:
    inbound = InboundMessages(home, "hall")
    path = home / "spool" / "following.json"

    assert not inbound.take(Message("earmark/v1/keys/hall", b"\xffanything", 1, retain=True))
    assert path.read_bytes() == b"\xffanything"
    first = path.stat().st_ino
    inbound.take(Message("earmark/v1/keys/hall", b"\xffanything", 1, retain=True))
    assert path.stat().st_ino == first
    inbound.take(Message("earmark/v1/keys/kitchen", b"[]", 1, retain=True))
    inbound.take(Message("earmark/v1/keys/hall", b"x" * (LONGEST_FOLLOWING_BYTES + 1), 1))

    assert path.read_bytes() == b"\xffanything"
    assert inbound.ignored == 1


def test_consents_are_stored_unread_and_are_not_foreign(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inbound = InboundMessages(home, "hall")
    path = home / "spool" / "consents.json"

    assert not inbound.take(Message("earmark/v1/consents/hall", b"\xffanything", 1, retain=True))
    inbound.take(Message("earmark/v1/consents/kitchen", b"[]", 1, retain=True))
    inbound.take(Message("earmark/v1/consents/hall", b"x" * (LONGEST_CONSENTS_BYTES + 1), 1))

    assert path.read_bytes() == b"\xffanything"
    assert inbound.ignored == 1
    assert not (home / "spool" / "following.json").exists()
    assert Spool(home / "spool", SpoolSettings()).waiting() == []
    assert "foreign" not in caplog.text


def test_unwritable_disk_is_logged(pinned: Path, caplog: pytest.LogCaptureFixture) -> None:
    inbound = InboundMessages(pinned, "hall")
    (pinned / "spool" / ".retention.json.part").mkdir(parents=True)

    assert not inbound.take(term(1, 1))

    assert "cannot store a message of the archive" in caplog.text


def test_clips_over_the_retention_limit_expire_and_are_counted(
    pinned: Path, spool: Spool, broker: "FakeBroker", clock: "FakeClock"
) -> None:
    for seq, owner in enumerate(("ada", "ada", "bob", "ada"), 1):
        spool.put(f"0000000{seq}-0000-4000-8000-000000000000", owner, seq, b"sealed")
    first, second, *_ = spool.waiting()
    spool.quarantine(second)
    for path in pinned.parent.rglob("*.earmark"):
        if "00000004" not in path.name:
            os.utime(path, (-3 * DAY_S, -3 * DAY_S))  # three days ago, in time it was running
    inbound = InboundMessages(pinned, "hall")
    sender = Sender(ClipDelivery(spool, "hall", 0.5), broker, inbound=inbound, monotonic_s=clock)
    broker.happens += [ConnectedEvent(BrokerLimits(), "5")]
    sender.turn(0.1)
    broker.happens += [DeliveredEvent(1), term(2, 1)]
    sender.turn(0.1)

    assert broker.subscribed[1:] == [
        *("earmark/v1/keys/hall", "earmark/v1/consents/hall", "earmark/v1/owner-answers/hall"),
        *("earmark/v1/retention/+", "earmark/v1/sequence/hall"),
    ]
    assert [(one.seq, one.owner) for one in spool.waiting()] == [(3, "bob"), (4, "ada")]
    assert not list((pinned.parent / "spool" / "quarantine").iterdir())
    assert spool.counts().expired == 2
    assert spool.counts().dropped == 0
    assert first.owner == "ada"


def test_pinned_key_has_the_format_of_joining(pinned: Path) -> None:
    assert (pinned / "archive.pub").read_text() == keys.device_text(ARCHIVE.public_key()) + "\n"
    assert json.loads(term(1, 1).payload)["term"]["owner"] == "ada"


def test_stored_messages_are_group_readable_in_a_setgid_folder(pinned: Path) -> None:
    (pinned / "spool").mkdir()
    (pinned / "spool").chmod(0o2770)
    inbound = InboundMessages(pinned, "hall")

    inbound.take(term(1, 1))
    inbound.take(Message("earmark/v1/keys/hall", b"[]", 1, retain=True))

    modes = {path.name: path.stat().st_mode & 0o777 for path in (pinned / "spool").iterdir()}
    assert modes == {"retention.json": 0o640, "following.json": 0o640}


def accepted(
    seq: int, device: str = "hall", dkey: str = "a" * 24, key: Ed25519PrivateKey = ARCHIVE
) -> Message:
    stated = AcceptedSequence(device=device, dkey=dkey, seq=seq)
    return Message("earmark/v1/sequence/hall", sequence.encode(stated, key.sign), 1, retain=True)


def stored_seq(home: Path) -> int:
    return int(json.loads((home / "spool" / "sequence.json").read_bytes())["sequence"]["seq"])


def test_highest_accepted_number_is_stored(pinned: Path) -> None:
    inbound = InboundMessages(pinned, "hall")

    inbound.take(accepted(7))
    inode = (pinned / "spool" / "sequence.json").stat().st_ino
    inbound.take(accepted(7))
    assert (pinned / "spool" / "sequence.json").stat().st_ino == inode
    inbound.take(accepted(6))
    InboundMessages(pinned, "hall").take(accepted(6))
    assert stored_seq(pinned) == 7
    assert inbound.ignored == 1
    inbound.take(accepted(2, dkey="b" * 24))

    assert stored_seq(pinned) == 2, "of another key of this device, which starts again"


@pytest.mark.parametrize(
    "message",
    [
        accepted(900, key=Ed25519PrivateKey.generate()),
        accepted(900, device="bath"),
        Message("earmark/v1/sequence/hall", b"", 1, retain=True),
        Message("earmark/v1/sequence/hall", b"900", 1, retain=True),
        Message("earmark/v1/sequence/hall", b"x" * 5000, 1, retain=True),
    ],
)
def test_number_that_the_archive_did_not_sign_is_ignored(pinned: Path, message: Message) -> None:
    inbound = InboundMessages(pinned, "hall")
    inbound.take(accepted(7))

    inbound.take(message)

    assert inbound.ignored == 1
    assert stored_seq(pinned) == 7


def test_damaged_number_is_replaced(pinned: Path) -> None:
    (pinned / "spool").mkdir()
    (pinned / "spool" / "sequence.json").write_bytes(b"{")

    InboundMessages(pinned, "hall").take(accepted(7))

    assert stored_seq(pinned) == 7


def test_number_is_ignored_without_a_pinned_key(home: Path) -> None:
    inbound = InboundMessages(home, "hall")

    inbound.take(accepted(7))

    assert inbound.topics == (
        *("earmark/v1/keys/hall", "earmark/v1/consents/hall", "earmark/v1/owner-answers/hall"),
    )
    assert not (home / "spool" / "sequence.json").exists()


def test_stored_messages_are_not_foreign_files(
    pinned: Path, caplog: pytest.LogCaptureFixture
) -> None:
    inbound = InboundMessages(pinned, "hall")
    inbound.take(term(1, 1))
    inbound.take(Message("earmark/v1/keys/hall", b"[]", 1, retain=True))

    assert Spool(pinned / "spool", SpoolSettings()).waiting() == []
    assert "foreign" not in caplog.text


class TellingBroker:
    """Tells what the test puts in; keeps what it is asked for."""

    def __init__(self) -> None:
        self.happens: deque[BrokerEvent] = deque()
        self.subscribed: list[str] = []

    def connect(self) -> None:
        pass

    def subscribe(self, pattern: str) -> None:
        self.subscribed.append(pattern)

    def publish(self, message: Message) -> int:
        del message
        return 1

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        del longest_s, also
        happened = list(self.happens)
        self.happens.clear()
        return happened

    def close(self) -> None:
        pass


class Bench:
    def __init__(self, home: Path) -> None:
        self.path = home / "control.sock"
        self.broker = TellingBroker()
        self.controller = ControlClient(self.path)
        self.sender = Sender(
            ClipDelivery(Spool(home / "spool", SpoolSettings()), "hall", 5.0),
            self.broker,
            controller=self.controller,
        )

    def message(self, payload: bytes, topic: str = "earmark/v1/command/hall", **how: bool) -> None:
        self.broker.happens.append(Message(topic, payload, 1, **how))
        self.sender.turn(0.0)


@pytest.fixture
def bench(home: Path) -> Iterator[Bench]:
    made = Bench(home)
    yield made
    made.controller.close()


@pytest.fixture
def hear(bench: Bench) -> Iterator[ControlSocket]:
    made = ControlSocket(bench.path)
    yield made
    made.close()


def test_command_topic_is_of_this_device(bench: Bench) -> None:
    bench.broker.happens.append(ConnectedEvent(BrokerLimits(), "5"))

    bench.sender.turn(0.0)

    assert bench.broker.subscribed == ["earmark/v1/ack/hall/+", "earmark/v1/command/hall"]


def test_without_a_controller_no_command_is_subscribed(home: Path) -> None:
    broker = TellingBroker()
    sender = Sender(ClipDelivery(Spool(home / "spool", SpoolSettings()), "hall", 5.0), broker)
    broker.happens.append(ConnectedEvent(BrokerLimits(), "5"))

    sender.turn(0.0)

    assert broker.subscribed == ["earmark/v1/ack/hall/+"]


def test_command_is_forwarded(bench: Bench, hear: ControlSocket) -> None:
    bench.message(b"mute")
    bench.message(b"unmute")

    assert list(hear.receive()) == [MuteRequest(), UnmuteRequest()]
    assert bench.sender.commands.ignored == 0


def test_commands_for_the_sensitivity_are_forwarded(bench: Bench, hear: ControlSocket) -> None:
    for payload in (b"threshold:alexa:0.65", b"word:hey-jarvis", b"word:*"):
        bench.message(payload)
        bench.message(payload, retain=True)

    assert list(hear.receive()) == [
        ThresholdRequest(word="alexa", threshold=0.65),
        WordRequest(only="hey-jarvis"),
        WordRequest(),
    ]
    assert bench.sender.commands.ignored == 3, "the retained ones"


@pytest.mark.parametrize(
    "payload",
    [
        *(b"threshold:alexa:0", b"threshold:alexa:1.0", b"threshold:alexa:0.995"),
        *(b"threshold:alexa:0.001", b"threshold:alexa:-0.5", b"threshold:alexa:nan"),
        *(b"threshold::0.5", b"threshold:alexa", b"threshold:ALEXA:0.5", b"threshold:a:0.5\n"),
        *(b"word:", b"word", b"word:a b", b"word:**", b"word:" + b"a" * 33, b"false-wake:1"),
    ],
)
def test_commands_outside_the_grammar_are_ignored(
    bench: Bench, hear: ControlSocket, payload: bytes
) -> None:
    bench.message(payload)

    assert list(hear.receive()) == []
    assert bench.sender.commands.ignored == 1


def test_false_wake_without_a_counter_is_ignored(bench: Bench, hear: ControlSocket) -> None:
    bench.message(b"false-wake")

    assert list(hear.receive()) == []
    assert bench.sender.commands.ignored == 1


def test_retained_command_is_ignored(bench: Bench, hear: ControlSocket) -> None:
    bench.message(b"unmute", retain=True)
    bench.message(b"mute", retain=True)

    assert list(hear.receive()) == []
    assert bench.sender.commands.ignored == 2


def test_command_of_another_device_is_ignored(bench: Bench, hear: ControlSocket) -> None:
    for topic in ("earmark/v1/command/kitchen", "earmark/v1/command/hall/x", "earmark/v1/command"):
        bench.message(b"mute", topic)

    assert list(hear.receive()) == []


def test_mute_is_repeated_until_hear_receives_it(bench: Bench) -> None:
    bench.message(b"mute")
    hear = ControlSocket(bench.path)
    bench.sender.turn(0.0)
    bench.sender.turn(0.0)

    assert list(hear.receive()) == [MuteRequest()]
    hear.close()


def test_unmute_is_not_repeated(bench: Bench) -> None:
    bench.message(b"unmute")
    hear = ControlSocket(bench.path)
    bench.sender.turn(0.0)

    assert list(hear.receive()) == []
    assert bench.sender.commands.ignored == 1
    hear.close()


def test_unmute_does_not_overtake_a_waiting_mute(bench: Bench) -> None:
    bench.message(b"mute")
    bench.message(b"unmute")
    hear = ControlSocket(bench.path)
    bench.sender.turn(0.0)

    assert list(hear.receive()) == [MuteRequest()]
    hear.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=64))
@example(b"MUTE")
@example(b"mute\n")
@example(b"false-wake")
@example(b"unmute\x00")
@example(b'{"kind":"unmute"}')
@example(b"")
def test_hostile_payloads_are_counted_and_not_forwarded(
    bench: Bench, hear: ControlSocket, payload: bytes
) -> None:
    before = bench.sender.commands.ignored

    bench.message(payload)

    said = list(hear.receive())
    if topics.parse_command(payload) in {None, "false-wake"}:  # send counts the last wake itself
        assert said == []
        assert bench.sender.commands.ignored == before + 1
    else:
        assert len(said) == 1


def consents(text: bytes, published_ms: int = 0, *, retain: bool = True) -> Message:
    topic = "earmark/v1/consents/hall"
    return Message(topic, text, 1, retain, published_ms=published_ms)


@pytest.mark.parametrize("restarts", [0, 1])
def test_older_message_that_another_broker_retained_is_ignored(home: Path, restarts: int) -> None:
    inbound = InboundMessages(home, "hall")
    stored = home / "spool" / "consents.json"
    inbound.take(consents(b"[2]", 2000))
    for _ in range(restarts):
        inbound = InboundMessages(home, "hall")

    inbound.take(consents(b"[1]", 1000))

    assert stored.read_bytes() == b"[2]"
    assert inbound.ignored == 1
    inbound.take(consents(b"[3]", 3000))
    assert stored.read_bytes() == b"[3]"


def test_message_that_is_published_now_is_the_newest(home: Path) -> None:
    inbound = InboundMessages(home, "hall")
    stored = home / "spool" / "consents.json"
    inbound.take(consents(b"[2]", 2000))

    # The archive's clock was wrong before.
    inbound.take(consents(b"[3]", 1000, retain=False))
    assert stored.read_bytes() == b"[3]"
    inbound.take(consents(b"[4]", 1500))
    assert stored.read_bytes() == b"[4]"


def test_message_without_a_time_is_stored(home: Path) -> None:
    inbound = InboundMessages(home, "hall")
    stored = home / "spool" / "consents.json"
    inbound.take(consents(b"[2]", 2000))

    inbound.take(consents(b"[3]"))

    assert stored.read_bytes() == b"[3]"


@pytest.mark.parametrize("data", [b"", b"[]", b'{"consents.json": "x"}', b"[" * 900])
def test_damaged_times_are_as_none(home: Path, data: bytes) -> None:
    (home / "spool").mkdir(parents=True, exist_ok=True)
    (home / "spool" / "published.json").write_bytes(data)

    InboundMessages(home, "hall").take(consents(b"[1]", 1))

    assert (home / "spool" / "consents.json").read_bytes() == b"[1]"
