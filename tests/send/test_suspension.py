"""Suspension of publication: after refusals in a row, and when the archive defers clips."""

import hashlib
import itertools
import uuid

import pytest

from listener.config import SpoolSettings
from listener.mqtt.client import BrokerLimits, Message
from listener.send.delivery import ClipDelivery
from listener.send.suspension import MOST_REFUSALS, Suspension
from listener.spool.queue import Spool

LIMITS = BrokerLimits()


@pytest.fixture
def delivery(spool: Spool) -> ClipDelivery:
    return ClipDelivery(spool, "hall", 5.0)


def fill(spool: Spool, clips: int) -> None:
    for seq in range(1, clips + 1):
        spool.put(str(uuid.UUID(int=seq)), "ada", seq, f"sealed {seq}".encode())


def answer(delivery: ClipDelivery, message: Message, before: str = "") -> None:
    payload = before + hashlib.sha256(message.payload).hexdigest()
    delivery.on_answer(message.topic.rsplit("/", 1)[1], payload.encode())


def refuse_everything(delivery: ClipDelivery, from_s: int, until_s: int) -> list[int]:
    """Refuse each published clip in the archive's name; return the times of publication."""
    times = []
    for now_s in range(from_s, until_s):
        if (message := delivery.next(float(now_s), LIMITS)) is not None:
            times.append(now_s)
            answer(delivery, message, "refused:form:")
    return times


def test_refusal_of_everything_quarantines_20_clips_and_no_more(
    delivery: ClipDelivery, spool: Spool
) -> None:
    fill(spool, 300)

    day = refuse_everything(delivery, 0, 86_400)

    assert (len(spool.quarantined()), len(spool.waiting()), spool.counts().dropped) == (20, 280, 0)
    assert delivery.suspension.reason == spool.suspended() == "refusals"
    pauses = [later - earlier for earlier, later in itertools.pairwise(day)]
    # A pause begins at the turn after the answer, here one second later.
    assert pauses[MOST_REFUSALS - 1 :][:7] == [61, 121, 241, 481, 961, 1921, 3601]
    assert set(pauses[MOST_REFUSALS + 6 :]) == {3601}


def test_acknowledgement_resumes_delivery_and_delivers_every_waiting_clip(
    delivery: ClipDelivery, spool: Spool
) -> None:
    fill(spool, 100)
    refuse_everything(delivery, 0, 4000)

    for now_s in range(4000, 12_000):
        if (message := delivery.next(float(now_s), LIMITS)) is not None:
            answer(delivery, message)

    assert spool.waiting() == []
    assert (spool.counts().acked, len(spool.quarantined())) == (80, 20)
    assert delivery.suspension.reason == spool.suspended() == ""


def test_good_clip_behind_refused_ones_is_found(delivery: ClipDelivery, spool: Spool) -> None:
    fill(spool, 40)
    now_s = 0

    while delivery.arrived == 0 and now_s < 2 * 86_400:
        if (message := delivery.next(float(now_s), LIMITS)) is not None:
            answer(delivery, message, "" if message.payload == b"sealed 35" else "refused:replay:")
        now_s += 1

    assert delivery.arrived == 1
    assert len(spool.quarantined()) == MOST_REFUSALS


def test_restart_stays_suspended_until_an_acknowledgement(
    delivery: ClipDelivery, spool: Spool
) -> None:
    fill(spool, 60)
    refuse_everything(delivery, 0, 30)

    again = ClipDelivery(spool, "hall", 5.0)
    refuse_everything(again, 0, 30)

    assert again.suspension.reason == "refusals"
    assert len(spool.quarantined()) == MOST_REFUSALS


def test_acknowledgements_between_refusals_prevent_a_suspension(
    delivery: ClipDelivery, spool: Spool
) -> None:
    fill(spool, 90)

    for number in range(90):
        message = delivery.next(1.0, LIMITS)
        assert message is not None
        answer(delivery, message, "" if number % 15 == 14 else "refused:form:")

    assert spool.waiting() == []
    assert delivery.suspension.reason == ""


def test_deferred_clip_stays_and_is_sent_again_later(delivery: ClipDelivery, spool: Spool) -> None:
    fill(spool, 2)

    times = []
    for now_s in range(2000):
        if (message := delivery.next(float(now_s), LIMITS)) is not None:
            times.append(now_s)
            answer(delivery, message, "deferred:" if now_s < 1000 else "")

    assert times[:7] == [0, 31, 92, 213, 454, 755, 1056]
    assert spool.waiting() == []
    assert spool.counts().quarantined == 0


def test_deferral_of_other_bytes_is_ignored(delivery: ClipDelivery, spool: Spool) -> None:
    fill(spool, 1)
    message = delivery.next(0.0, LIMITS)
    assert message is not None

    delivery.on_answer(message.topic.rsplit("/", 1)[1], b"deferred:" + b"0" * 64)

    assert delivery.suspension.reason == ""


def test_long_backlog_is_never_quarantined_by_deferrals(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Ten clips a minute are accepted, and the others deferred: all of them arrive."""
    spool = Spool(tmp_path_factory.mktemp("spool"), SpoolSettings(most_clips=2000))
    fill(spool, 200)
    delivery = ClipDelivery(spool, "hall", 5.0)
    tokens = 50.0

    for now_s in range(86_400):
        tokens = min(50.0, tokens + 1 / 60)
        if (message := delivery.next(float(now_s), LIMITS)) is None:
            continue
        if tokens >= 1:
            tokens -= 1
            answer(delivery, message)
        else:
            answer(delivery, message, "deferred:")

    assert spool.waiting() == []
    assert (spool.counts().acked, spool.counts().quarantined) == (200, 0)


def test_record_of_a_deferral_ends_with_the_first_acknowledgement_after_a_restart(
    spool: Spool,
) -> None:
    before = Suspension(spool)
    before.on_deferred()
    assert spool.suspended() == "deferred"

    after = Suspension(spool)
    assert after.may_publish(0)
    after.on_stored()

    assert spool.suspended() == ""


def test_deferral_and_restart_permit_no_further_refusals(spool: Spool) -> None:
    fill(spool, MOST_REFUSALS + 5)
    delivery = ClipDelivery(spool, "hall", 5.0)
    refuse_everything(delivery, 0, 30)
    message = delivery.next(10_000.0, LIMITS)
    assert message is not None
    answer(delivery, message, "deferred:")

    refuse_everything(ClipDelivery(spool, "hall", 5.0), 0, 30)

    assert spool.counts().quarantined == MOST_REFUSALS
