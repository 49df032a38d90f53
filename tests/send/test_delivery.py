"""Delivery of clips: order, acknowledgement and quarantine."""

import hashlib
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.config import SpoolSettings
from listener.mqtt.client import PACKET_TOO_LARGE, BrokerLimits, Message
from listener.send.delivery import ClipDelivery
from listener.spool.files import SpoolEntry
from listener.spool.ledger import Counts
from listener.spool.queue import Spool

LIMITS = BrokerLimits()


@pytest.fixture
def delivery(spool: Spool) -> ClipDelivery:
    return ClipDelivery(spool, "hall", 5.0)


def put(spool: Spool, seq: int, data: bytes | None = None) -> SpoolEntry:
    clip = str(uuid.UUID(int=seq))
    return spool.put(clip, "ada", seq, data or f"sealed {seq}".encode())


def ack(message: Message) -> bytes:
    return hashlib.sha256(message.payload).hexdigest().encode()


def clip_of(message: Message) -> str:
    return message.topic.rsplit("/", 1)[1]


def publish_next(delivery: ClipDelivery, now_s: float, limits: BrokerLimits = LIMITS) -> Message:
    """Return the next clip as published; its ticket is the time."""
    message = delivery.next(now_s, limits)
    assert message is not None
    delivery.on_published(int(now_s))
    return message


def test_one_clip_is_in_flight_and_the_oldest_is_first(
    delivery: ClipDelivery, spool: Spool
) -> None:
    put(spool, 2)
    first = put(spool, 1)

    message = publish_next(delivery, 1)

    assert message == Message(
        f"earmark/v1/clips/ada/hall/{first.clip}", b"sealed 1", 1, expiry_s=60
    )
    assert delivery.next(1, LIMITS) is None


def test_clip_is_removed_on_the_hash_of_exactly_its_bytes(
    delivery: ClipDelivery, spool: Spool
) -> None:
    put(spool, 1)
    put(spool, 2)
    message = publish_next(delivery, 1)

    for payload in (b"", b"0" * 64, ack(message).upper(), ack(message) + b"\n", ack(message)[:-1]):
        delivery.on_answer(clip_of(message), payload)
    assert len(spool.waiting()) == 2

    delivery.on_answer(clip_of(message), ack(message))

    assert [entry.seq for entry in spool.waiting()] == [2]
    assert publish_next(delivery, 1).payload == b"sealed 2"


def test_clip_that_was_not_sent_cannot_be_acknowledged(
    delivery: ClipDelivery, spool: Spool
) -> None:
    entry = put(spool, 1, b"guessed")

    delivery.on_answer(entry.clip, hashlib.sha256(b"guessed").hexdigest().encode())

    assert spool.waiting() == [entry]


def test_unanswered_clip_yields_to_the_next_with_growing_timeout(
    delivery: ClipDelivery, spool: Spool
) -> None:
    for seq in (1, 2):
        put(spool, seq)

    seen: list[tuple[float, bytes]] = []
    now_s = 0.0
    while len(seen) < 6:
        message = delivery.next(now_s, LIMITS)
        if message is not None:
            seen.append((now_s, message.payload))
        now_s += 1

    assert seen == [
        (0, b"sealed 1"),
        (5, b"sealed 2"),
        (15, b"sealed 1"),
        (35, b"sealed 2"),
        (65, b"sealed 1"),
        (95, b"sealed 2"),
    ]
    assert spool.counts().quarantined == 0


def test_late_answer_counts(delivery: ClipDelivery, spool: Spool) -> None:
    put(spool, 1)
    put(spool, 2)
    first = publish_next(delivery, 0)
    publish_next(delivery, 5)

    delivery.on_answer(clip_of(first), ack(first))

    assert [entry.seq for entry in spool.waiting()] == [2]
    assert delivery.next(6, LIMITS) is None, "the second is still in flight"


def test_clip_unanswered_three_times_unlike_others_is_quarantined(
    delivery: ClipDelivery, spool: Spool
) -> None:
    for seq in range(1, 6):
        put(spool, seq)
    now_s = 0.0
    for _ in range(3):
        assert publish_next(delivery, now_s).payload == b"sealed 1"
        now_s += 5
        other = publish_next(delivery, now_s)
        delivery.on_answer(clip_of(other), ack(other))

    assert [entry.seq for entry in spool.waiting()] == [5]
    assert spool.counts() == Counts(spooled=5, acked=3, quarantined=1)
    assert delivery.quarantined == 1


def test_clip_over_the_broker_limit_is_never_published(
    delivery: ClipDelivery, spool: Spool
) -> None:
    put(spool, 1, bytes(5000))
    put(spool, 2)

    message = publish_next(delivery, 0, BrokerLimits(packet_bytes=1000))

    assert message.payload == b"sealed 2"
    assert spool.counts().quarantined == 1


@pytest.mark.parametrize("code", [0x95, 0x99, 0x90])
def test_clip_that_the_broker_rejects_is_quarantined(
    delivery: ClipDelivery, spool: Spool, code: int
) -> None:
    put(spool, 1)
    publish_next(delivery, 7)

    delivery.on_rejected(8, code, "another ticket")
    assert spool.counts().quarantined == 0
    delivery.on_rejected(7, code, "said so")

    assert spool.counts().quarantined == 1


def test_missing_broker_permission_keeps_the_clip(delivery: ClipDelivery, spool: Spool) -> None:
    put(spool, 1)
    publish_next(delivery, 7)

    delivery.on_rejected(7, 0x87, "Not authorized")
    delivery.on_connection_lost(None, proven=True)

    assert len(spool.waiting()) == 1
    assert spool.counts().quarantined == 0


def test_clip_that_breaks_three_connections_is_quarantined(
    delivery: ClipDelivery, spool: Spool
) -> None:
    put(spool, 1)
    put(spool, 2)
    for now_s in range(3):
        assert publish_next(delivery, now_s).payload == b"sealed 1"
        delivery.on_connection_lost(None, proven=True)

    assert publish_next(delivery, 9).payload == b"sealed 2"
    assert spool.counts().quarantined == 1


def test_unproven_connection_does_not_count_against_a_clip(
    delivery: ClipDelivery, spool: Spool
) -> None:
    put(spool, 1)
    for now_s in range(10):
        publish_next(delivery, now_s)
        delivery.on_connection_lost(None, proven=False)

    assert spool.counts().quarantined == 0


def test_accepted_clip_is_not_blamed_for_a_lost_connection(
    delivery: ClipDelivery, spool: Spool
) -> None:
    put(spool, 1)
    for now_s in range(10):
        publish_next(delivery, now_s)
        delivery.on_delivered(now_s)
        delivery.on_connection_lost(None, proven=True)

    assert spool.counts().quarantined == 0


def test_packet_too_large_quarantines_at_once(delivery: ClipDelivery, spool: Spool) -> None:
    put(spool, 1)
    publish_next(delivery, 1)

    delivery.on_connection_lost(PACKET_TOO_LARGE, proven=False)

    assert spool.counts().quarantined == 1


def test_refused_clip_is_quarantined_and_erased_clip_removed(
    delivery: ClipDelivery, spool: Spool
) -> None:
    put(spool, 1)
    put(spool, 2)
    first = publish_next(delivery, 1)
    delivery.on_answer(clip_of(first), b"refused:replay:" + b"0" * 64)
    assert spool.counts().quarantined == 0

    delivery.on_answer(clip_of(first), b"refused:replay:" + ack(first))
    second = publish_next(delivery, 1)
    delivery.on_answer(clip_of(second), b"refused:erased:" + ack(second))

    assert spool.waiting() == []
    assert spool.counts() == Counts(spooled=2, erased=1, quarantined=1)


def test_erased_answer_removes_an_unsent_clip_by_its_hash(
    delivery: ClipDelivery, spool: Spool
) -> None:
    first, second = put(spool, 1), put(spool, 2)

    for payload in (
        b"refused:erased:" + hashlib.sha256(b"sealed 2").hexdigest().encode(),
        b"refused:replay:" + hashlib.sha256(b"sealed 1").hexdigest().encode(),
        hashlib.sha256(b"sealed 1").hexdigest().encode(),
    ):
        delivery.on_answer(first.clip, payload)
    assert spool.waiting() == [first, second]

    delivery.on_answer(
        first.clip, b"refused:erased:" + hashlib.sha256(b"sealed 1").hexdigest().encode()
    )
    assert spool.waiting() == [second]
    assert delivery.erased == 1


def test_clip_removed_in_the_meantime_is_skipped(delivery: ClipDelivery, spool: Spool) -> None:
    entry = put(spool, 1)
    put(spool, 2)
    publish_next(delivery, 0)
    spool.remove(entry)

    assert publish_next(delivery, 5).payload == b"sealed 2"


class BadDisk(Spool):
    """A spool whose disk neither reads the first clip nor moves nor removes anything."""

    def read(self, entry: SpoolEntry) -> bytes | None:
        if entry.seq == 1:
            raise OSError(5, "Input/output error")
        return super().read(entry)

    def remove(self, entry: SpoolEntry, *, erased: bool = False) -> bool:
        raise OSError(30, "Read-only file system")

    def quarantine(self, entry: SpoolEntry) -> bool:
        raise OSError(30, "Read-only file system")


def test_failing_disk_does_not_repeat_a_clip_for_ever(tmp_path: Path) -> None:
    spool = BadDisk(tmp_path / "spool", SpoolSettings())
    delivery = ClipDelivery(spool, "hall", 5.0)
    for seq in (1, 2):
        put(spool, seq)

    message = publish_next(delivery, 0)
    delivery.on_answer(clip_of(message), ack(message))

    assert message.payload == b"sealed 2"
    assert delivery.next(100, LIMITS) is None
    assert delivery.waiting() == 0
    assert len(spool.waiting()) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(clip=st.text(max_size=40) | st.just(str(uuid.UUID(int=1))), payload=st.binary(max_size=200))
def test_hostile_answers_change_nothing(
    delivery: ClipDelivery, spool: Spool, clip: str, payload: bytes
) -> None:
    put(spool, 1)
    delivery.next(0, LIMITS)

    delivery.on_answer(clip, payload)

    assert len(spool.waiting()) == 1


def test_erased_answer_removes_a_quarantined_clip_by_its_hash(
    delivery: ClipDelivery, spool: Spool
) -> None:
    entries = [put(spool, seq) for seq in (1, 2)]
    data = [spool.read(entry) or b"" for entry in entries]
    for entry in entries:
        spool.quarantine(entry)

    delivery.on_answer(entries[0].clip, b"refused:erased:" + b"0" * 64)
    right = hashlib.sha256(data[0]).hexdigest().encode()
    delivery.on_answer(entries[0].clip, b"refused:erased:" + right)

    assert spool.restore() == 1
    assert [entry.clip for entry in spool.waiting()] == [entries[1].clip]


def test_clip_refused_as_a_replay_is_released_once(spool: Spool) -> None:
    replay, damaged = put(spool, 1), put(spool, 2)

    def refuse_all() -> int:
        delivery = ClipDelivery(spool, "hall", 5.0)
        released = spool.restore()
        for _ in spool.waiting():
            message = publish_next(delivery, 1)
            reason = b"replay" if clip_of(message) == replay.clip else b"form"
            delivery.on_answer(clip_of(message), b"refused:" + reason + b":" + ack(message))
        return released

    assert [refuse_all() for _ in range(4)] == [0, 2, 1, 1]

    assert spool.quarantined() == {replay.clip: 2, damaged.clip: 0}
    counts = spool.counts()
    assert (counts.quarantined, counts.released, counts.acked) == (6, 4, 0)


def test_unwritable_list_of_replays_is_logged(
    delivery: ClipDelivery, spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(spool, 1)
    (tmp_path / "spool" / "replayed.json.part").mkdir()
    message = publish_next(delivery, 1)

    delivery.on_answer(clip_of(message), b"refused:replay:" + ack(message))

    assert "cannot write the list of refused clips" in caplog.text
    assert spool.counts().quarantined == 1


def test_clip_deleted_from_the_quarantine_by_an_answer_is_counted(
    delivery: ClipDelivery, spool: Spool
) -> None:
    entry = put(spool, 1)
    data = spool.read(entry) or b""
    delivery.next(0, LIMITS)
    sha256 = hashlib.sha256(data).hexdigest().encode()

    delivery.on_answer(entry.clip, b"refused:form:" + sha256)
    delivery.on_answer(entry.clip, b"refused:erased:" + sha256)

    counts = spool.counts()
    assert spool.quarantined() == {}
    assert counts == Counts(spooled=1, quarantined=1, erased=1)


def waits(message: Message, reason: str = "owner") -> bytes:
    return b"waiting:" + reason.encode() + b":" + ack(message)


def test_clip_that_has_to_wait_lets_the_others_pass_and_is_not_quarantined(
    delivery: ClipDelivery, spool: Spool
) -> None:
    """An owner whom the archive does not know: no failure of the clip is counted."""
    spool.put(str(uuid.UUID(int=1)), "bob", 1, b"sealed 1")
    sent: list[bytes] = []
    for turn in range(12):
        put(spool, turn + 2)
        while (message := delivery.next(100.0 * turn, LIMITS)) is not None:
            delivery.on_published(turn)
            sent.append(message.payload)
            is_bobs = message.payload == b"sealed 1"
            delivery.on_answer(clip_of(message), waits(message) if is_bobs else ack(message))

    assert sent.count(b"sealed 1") == 12  # once in each turn of 100 s, and never at once again
    assert [entry.seq for entry in spool.waiting()] == [1]
    assert delivery.quarantined == 0
    assert (delivery.not_stored, spool.not_stored()) == ("owner", "owner")


def test_pauses_of_a_clip_that_has_to_wait_grow_to_a_minute(
    delivery: ClipDelivery, spool: Spool
) -> None:
    put(spool, 1)
    times = []
    for now_s in range(400):
        message = delivery.next(float(now_s), LIMITS)
        if message is not None:
            times.append(now_s)
            delivery.on_published(now_s)
            delivery.on_answer(clip_of(message), waits(message))
            delivery.on_answer(clip_of(message), waits(message))  # a second answer changes nothing

    assert times == [0, 5, 15, 35, 75, 135, 195, 255, 315, 375]


def test_reason_ends_when_the_archive_stores_the_owners_clips(
    delivery: ClipDelivery, spool: Spool
) -> None:
    for seq in (1, 2):
        put(spool, seq)
        message = publish_next(delivery, 1)
        delivery.on_answer(clip_of(message), waits(message, "device"))
    assert spool.not_stored() == "device"
    assert delivery.next(5, LIMITS) is None

    message = publish_next(delivery, 6)
    delivery.on_answer(clip_of(message), ack(message))
    second = publish_next(delivery, 6)  # without the rest of its pause
    delivery.on_answer(clip_of(second), ack(second))

    assert (delivery.not_stored, spool.not_stored()) == ("", "")
    assert delivery.arrived == 2
