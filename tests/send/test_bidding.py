"""What the archive has for a speaker: obeyed where it is signed, laid down where hear judges."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.config import SpoolSettings
from listener.envelope import keys
from listener.mqtt import terms
from listener.mqtt.broker import BrokerLimits, ConnectedEvent, DeliveredEvent, Message
from listener.mqtt.terms import RetentionLimit
from listener.send.bidding import LONGEST_FOLLOWING_BYTES, InboundMessages
from listener.send.courier import ClipDelivery
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
    payload = terms.encode(RetentionLimit(owner=owner, days=days, n=n), key.sign)
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

    assert "cannot be kept" in caplog.text


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
