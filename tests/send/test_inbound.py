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
from listener.ipc.control import ControlClient, ControlSocket, MuteRequest, UnmuteRequest
from listener.mqtt import retention, topics
from listener.mqtt.client import (
    BrokerEvent,
    BrokerLimits,
    ConnectedEvent,
    DeliveredEvent,
    Message,
    Waitable,
)
from listener.mqtt.retention import RetentionLimit
from listener.send.delivery import ClipDelivery
from listener.send.inbound import LONGEST_FOLLOWING_BYTES, InboundMessages
from listener.send.loop import Sender
from listener.spool.queue import Spool
from listener.storage.home import Home

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


def test_the_newest_choice_holds_and_lasts(pinned: Path) -> None:
    bidding = InboundMessages(pinned, "hall")

    assert bidding.take(term(7, 1))
    assert bidding.take(term(2, 2))
    assert not bidding.take(term(2, 2))
    assert not bidding.take(term(1, 1)), "an old choice, said again"

    assert bidding.longest_s() == {"ada": 2 * DAY_S}
    assert InboundMessages(pinned, "hall").longest_s() == {"ada": 2 * DAY_S}
    assert (pinned / "spool" / "retention.json").stat().st_mode & 0o777 == 0o600
    assert bidding.take(term(30, 3)), "hers to lengthen again; the spool's own bound holds still"


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
def test_what_the_archive_did_not_sign_for_this_owner_is_not_obeyed(
    pinned: Path, message: Message
) -> None:
    bidding = InboundMessages(pinned, "hall")

    assert not bidding.take(message)

    assert bidding.longest_s() == {}
    assert bidding.ignored == 1
    assert not (pinned / "spool" / "retention.json").exists()


def test_owners_without_end_find_no_room(pinned: Path) -> None:
    bidding = InboundMessages(pinned, "hall")

    for number in range(70):
        bidding.take(term(1, 1, owner=f"owner-{number}"))

    assert len(bidding.longest_s()) == 64


@pytest.mark.parametrize("pin", [None, b"ed25519:???", b"\xff"])
def test_without_a_key_that_was_named_nobody_is_obeyed(home: Path, pin: bytes | None) -> None:
    if pin is not None:
        (home / "archive.pub").write_bytes(pin)
    bidding = InboundMessages(home, "hall")

    bidding.take(term(1, 1))

    assert bidding.topics[0] == "earmark/v1/keys/hall"
    assert bidding.longest_s() == {}


def test_a_damaged_file_is_as_none(pinned: Path) -> None:
    (pinned / "spool").mkdir()
    (pinned / "spool" / "retention.json").write_bytes(b"{")

    assert InboundMessages(pinned, "hall").longest_s() == {}


def test_a_key_s_message_is_laid_down_unread(home: Path) -> None:
    bidding = InboundMessages(home, "hall")
    path = home / "spool" / "following.json"

    assert not bidding.take(Message("earmark/v1/keys/hall", b"\xffanything", 1, retain=True))
    assert path.read_bytes() == b"\xffanything"
    first = path.stat().st_ino
    bidding.take(Message("earmark/v1/keys/hall", b"\xffanything", 1, retain=True))
    assert path.stat().st_ino == first
    bidding.take(Message("earmark/v1/keys/kitchen", b"[]", 1, retain=True))
    bidding.take(Message("earmark/v1/keys/hall", b"x" * (LONGEST_FOLLOWING_BYTES + 1), 1))

    assert path.read_bytes() == b"\xffanything"
    assert bidding.ignored == 1


def test_a_disk_that_takes_nothing_stops_nothing(
    pinned: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bidding = InboundMessages(pinned, "hall")
    (pinned / "spool" / ".retention.json.part").mkdir(parents=True)

    assert not bidding.take(term(1, 1))

    assert "cannot store a message of the archive" in caplog.text


def test_clips_that_may_wait_no_longer_go_and_are_counted(
    pinned: Path, spool: Spool, broker: "FakeBroker", clock: "FakeClock"
) -> None:
    for seq, owner in enumerate(("ada", "ada", "bob", "ada"), 1):
        spool.put(f"0000000{seq}-0000-4000-8000-000000000000", owner, seq, b"sealed")
    first, second, *_ = spool.waiting()
    spool.quarantine(second)
    for path in pinned.parent.rglob("*.earmark"):
        if "00000004" not in path.name:
            os.utime(path, (-3 * DAY_S, -3 * DAY_S))  # three days ago, in time it was running
    bidding = InboundMessages(pinned, "hall")
    sender = Sender(ClipDelivery(spool, "hall", 0.5), broker, bidding=bidding, monotonic_s=clock)
    broker.happens += [ConnectedEvent(BrokerLimits(), "5")]
    sender.turn(0.1)
    broker.happens += [DeliveredEvent(1), term(2, 1)]
    sender.turn(0.1)

    assert broker.subscribed[1:] == ["earmark/v1/keys/hall", "earmark/v1/retention/+"]
    assert [(one.seq, one.owner) for one in spool.waiting()] == [(3, "bob"), (4, "ada")]
    assert not list((pinned.parent / "spool" / "quarantine").iterdir())
    assert spool.counts().expired == 2
    assert spool.counts().dropped == 0
    assert first.owner == "ada"


def test_the_pin_is_spelt_as_joining_writes_it(pinned: Path) -> None:
    assert (pinned / "archive.pub").read_text() == keys.device_text(ARCHIVE.public_key()) + "\n"
    assert json.loads(term(1, 1).payload)["term"]["owner"] == "ada"


def test_where_two_users_share_the_border_hear_may_read_it(pinned: Path) -> None:
    (pinned / "spool").mkdir()
    (pinned / "spool").chmod(0o2770)
    bidding = InboundMessages(pinned, "hall")

    bidding.take(term(1, 1))
    bidding.take(Message("earmark/v1/keys/hall", b"[]", 1, retain=True))

    modes = {path.name: path.stat().st_mode & 0o777 for path in (pinned / "spool").iterdir()}
    assert modes == {"retention.json": 0o640, "following.json": 0o640}


def test_what_lies_there_is_nothing_foreign(pinned: Path, caplog: pytest.LogCaptureFixture) -> None:
    bidding = InboundMessages(pinned, "hall")
    bidding.take(term(1, 1))
    bidding.take(Message("earmark/v1/keys/hall", b"[]", 1, retain=True))

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


def test_the_topic_is_this_devices_own(bench: Bench) -> None:
    bench.broker.happens.append(ConnectedEvent(BrokerLimits(), "5"))

    bench.sender.turn(0.0)

    assert bench.broker.subscribed == ["earmark/v1/ack/hall/+", "earmark/v1/command/hall"]


def test_who_forwards_no_commands_asks_for_none(home: Path) -> None:
    broker = TellingBroker()
    sender = Sender(ClipDelivery(Spool(home / "spool", SpoolSettings()), "hall", 5.0), broker)
    broker.happens.append(ConnectedEvent(BrokerLimits(), "5"))

    sender.turn(0.0)

    assert broker.subscribed == ["earmark/v1/ack/hall/+"]


def test_a_command_is_forwarded(bench: Bench, hear: ControlSocket) -> None:
    bench.message(b"mute")
    bench.message(b"unmute")

    assert list(hear.receive()) == [MuteRequest(), UnmuteRequest()]
    assert bench.sender.commands.ignored == 0


def test_a_command_that_the_broker_kept_is_ignored(bench: Bench, hear: ControlSocket) -> None:
    bench.message(b"unmute", retain=True)
    bench.message(b"mute", retain=True)

    assert list(hear.receive()) == []
    assert bench.sender.commands.ignored == 2


def test_another_devices_command_is_none_of_ours(bench: Bench, hear: ControlSocket) -> None:
    for topic in ("earmark/v1/command/kitchen", "earmark/v1/command/hall/x", "earmark/v1/command"):
        bench.message(b"mute", topic)

    assert list(hear.receive()) == []


def test_a_mute_waits_for_a_hear_that_is_away(bench: Bench) -> None:
    bench.message(b"mute")
    hear = ControlSocket(bench.path)
    bench.sender.turn(0.0)
    bench.sender.turn(0.0)

    assert list(hear.receive()) == [MuteRequest()]
    hear.close()


def test_an_unmute_does_not_wait_for_a_hear_that_is_away(bench: Bench) -> None:
    bench.message(b"unmute")
    hear = ControlSocket(bench.path)
    bench.sender.turn(0.0)

    assert list(hear.receive()) == []
    assert bench.sender.commands.ignored == 1
    hear.close()


def test_an_unmute_does_not_overtake_a_mute_that_waits(bench: Bench) -> None:
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
@example(b"unmute\x00")
@example(b'{"kind":"unmute"}')
@example(b"")
def test_hostile_payloads_are_counted_and_reach_nobody(
    bench: Bench, hear: ControlSocket, payload: bytes
) -> None:
    before = bench.sender.commands.ignored

    bench.message(payload)

    said = list(hear.receive())
    if topics.parse_command(payload) is None:
        assert said == []
        assert bench.sender.commands.ignored == before + 1
    else:
        assert len(said) == 1
