"""Verification of incoming envelopes."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.archive.elapsed_time import NO_WAIT, ArchiveTime, Wait
from listener.archive.receiver import Receiver, Refusal
from listener.archive.records import ClipRecord
from listener.archive.store import FileStore
from listener.envelope import format as form
from listener.envelope import keys
from listener.envelope.format import Envelope
from listener.errors import BadEnvelope, Unavailable
from listener.mqtt.client import Message
from listener.owner.roster import Roster

if TYPE_CHECKING:
    from tests.conftest import Household

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


def message(header: form.PublicHeader, data: bytes) -> Message:
    return Message(f"earmark/v1/clips/{header.owner}/{header.device}/{header.clip}", data)


def waits(data: bytes, reason: str) -> bytes:
    return b"waiting:" + reason.encode() + b":" + hashlib.sha256(data).hexdigest().encode()


def answer(data: bytes, refused: str = "") -> bytes:
    before = f"refused:{refused}:" if refused else ""
    return (before + hashlib.sha256(data).hexdigest()).encode()


def test_valid_envelope_is_stored_and_acknowledged_by_hash(
    receiver: Receiver, household: "Household", folder: Path
) -> None:
    header = household.header(1)
    data = household.seal(header)

    reply = receiver.receive(message(header, data))

    assert reply == Message(f"earmark/v1/ack/hall/{header.clip}", answer(data), 1, retain=False)
    assert (folder / "clips" / "ada" / f"{header.clip}.earmark").read_bytes() == data
    assert receiver.stored == 1


def test_repeated_envelope_is_acknowledged_and_stored_once(
    receiver: Receiver, household: "Household", store: FileStore
) -> None:
    header = household.header(1)
    data = household.seal(header)
    first = receiver.receive(message(header, data))

    again = receiver.receive(message(header, data))

    assert again == first
    assert (receiver.stored, receiver.repeated) == (1, 1)
    assert len(list(store.clips())) == 1


def test_other_bytes_under_the_same_id_are_a_replay(
    receiver: Receiver, household: "Household", folder: Path
) -> None:
    header = household.header(1)
    data = household.seal(header)
    receiver.receive(message(header, data))
    other = household.seal(msgspec.structs.replace(header, seq=2))

    reply = receiver.receive(message(header, other))

    assert reply is not None
    assert reply.payload == answer(other, "replay")
    assert (folder / "clips" / "ada" / f"{header.clip}.earmark").read_bytes() == data


def test_used_sequence_number_is_a_replay(receiver: Receiver, household: "Household") -> None:
    for header in (household.header(1), household.header(1)):
        receiver.receive(message(header, household.seal(header)))

    assert receiver.stored == 1
    assert receiver.refused == {Refusal.REPLAY: 1}


def test_envelope_under_another_topic_is_refused(
    receiver: Receiver, household: "Household"
) -> None:
    header = household.header(1)
    data = household.seal(header)

    for owner, device, clip in (
        ("bob", "hall", header.clip),
        ("ada", "kitchen", header.clip),
        ("ada", "hall", household.header(1).clip),
    ):
        reply = receiver.receive(Message(f"earmark/v1/clips/{owner}/{device}/{clip}", data))
        assert reply is not None
        assert reply.payload == answer(data, "topic")

    assert receiver.refused == {Refusal.TOPIC: 3}
    assert receiver.stored == 0


@pytest.mark.parametrize(
    "topic", ["", "earmark/v1/clips/ada/hall", "earmark/v1/clips/a/b/c/d", "#"]
)
def test_unknown_topic_gets_no_answer(receiver: Receiver, topic: str) -> None:
    assert receiver.receive(Message(topic, b"")) is None
    assert receiver.refused == {Refusal.TOPIC: 1}


def test_unknown_device_or_owner_is_told_why_the_clip_waits(
    receiver: Receiver, household: "Household"
) -> None:
    stranger = Ed25519PrivateKey.generate()
    unknown_key = household.header(1, dkey=keys.device_id(stranger.public_key()))
    known = household.header(2, owner="bob")
    envelope = household.seal(known)
    household.home.change_roster(lambda old: old.without_owner("bob"))

    foreign = household.seal(unknown_key, key=stranger)
    for header, data, reason in ((unknown_key, foreign, "device"), (known, envelope, "owner")):
        reply = receiver.receive(message(header, data))
        assert reply is not None
        assert reply.payload == waits(data, reason)
    assert receiver.stored == 0
    assert receiver.refused == {Refusal.DEVICE: 1, Refusal.OWNER: 1}


def test_invalid_seal_and_malformed_bytes_are_answered(
    receiver: Receiver, household: "Household"
) -> None:
    header = household.header(1)
    data = household.seal(header)
    broken = data[:-1] + bytes([data[-1] ^ 1])

    for bytes_, reason in ((broken, "seal"), (b"", "form"), (data[:40], "form")):
        reply = receiver.receive(message(header, bytes_))
        assert reply is not None
        assert reply.payload == answer(bytes_, reason)


def test_refused_envelope_leaves_nothing_on_disk_or_in_log(
    receiver: Receiver, household: "Household", folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    header = household.header(1)
    data = household.seal(header)

    receiver.receive(Message(f"earmark/v1/clips/bob/hall/{header.clip}", data))
    receiver.receive(message(header, b"EARMARK/1\nsecret"))

    assert not list(folder.rglob("*.earmark*"))
    assert len(caplog.records) == 2
    assert header.clip not in caplog.text
    assert "secret" not in caplog.text


class BrokenStore:
    """A store whose disk is full."""

    def keep(
        self,
        envelope: Envelope,
        data: bytes,
        received_s: int,
        *,
        wait: Wait = NO_WAIT,
        now: ArchiveTime | None = None,
    ) -> bool:
        raise Unavailable("no space left on device")

    def clips(self, owner: str | None = None) -> Iterator[ClipRecord]:
        yield from ()

    def expire(self, now_s: int) -> int:
        return 0


def test_unavailable_store_lets_the_clip_wait(household: "Household") -> None:
    receiver = Receiver(BrokenStore(), household.home.roster, lambda: 0.0)
    header = household.header(1)

    data = household.seal(header)

    reply = receiver.receive(message(header, data))

    assert reply is not None
    assert reply.payload == waits(data, "unavailable")
    assert receiver.refused == {Refusal.UNAVAILABLE: 1}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: form.MAGIC + tail),
    topic=st.text(max_size=80) | st.just("earmark/v1/clips/ada/hall/x"),
)
def test_arbitrary_messages_are_not_stored(receiver: Receiver, data: bytes, topic: str) -> None:
    receiver.receive(Message(topic, data))

    assert receiver.stored == 0


def vectors() -> list[Any]:
    cases: list[Any] = json.loads((VECTORS / "index.json").read_text("utf-8"))["envelopes"]
    return [pytest.param(case, id=Path(case["file"]).stem) for case in cases]


@pytest.mark.parametrize("case", vectors())
def test_golden_envelopes_are_stored_or_refused(case: dict[str, Any], store: FileStore) -> None:
    index = json.loads((VECTORS / "index.json").read_text("utf-8"))
    roster = Roster()
    for name, key in index["devices"].items():
        roster = roster.with_device(name, key)
    for name, key in index["owners"].items():
        roster = (
            roster.with_owner(name, key)
            .with_challenge(name, "x", 1)
            .with_confirmation(name, "x", 1)
        )
    for name, key in index["inactive_owners"].items():
        roster = roster.with_owner(name, key)
    receiver = Receiver(store, lambda: roster, lambda: 1.8e9)
    data = (VECTORS / case["file"]).read_bytes()
    try:
        header = form.parse_envelope(data).header
        received = message(header, data)
    except BadEnvelope:
        received = Message(f"earmark/v1/clips/ada/kitchen/{'0' * 36}", data)

    receiver.receive(received)

    assert receiver.stored == int(case["archive"])


def test_refusals_are_counted_by_reason(receiver: Receiver) -> None:
    for _ in range(3):
        receiver.receive(Message(f"earmark/v1/clips/ada/hall/{'0' * 8}", b"garbage", 1))
    receiver.receive(Message("earmark/v1/clips/nonsense", b"garbage", 1))

    assert receiver.refused_counts() == {
        "envelopes refused (form)": 3,
        "envelopes refused (topic)": 1,
    }
