"""Events at once, and a status that stays true.

The retained status, and the last will.
"""

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from listener.ipc import notices
from listener.ipc.notices import Tally
from listener.mqtt import topics
from listener.mqtt.client import BrokerLimits
from listener.release import state as journal
from listener.release.state import UpdateState
from listener.send.false_wakes import FalseWakes
from listener.send.status import (
    EXPIRY_S,
    REPEAT_S,
    STATUS_PAUSE_S,
    Status,
    StatusPublisher,
    will,
)
from listener.spool.queue import Spool

if TYPE_CHECKING:
    from tests.send.conftest import FakeBroker

LIMITS = BrokerLimits()


@pytest.fixture
def account(spool: Spool, broker: "FakeBroker") -> StatusPublisher:
    made = StatusPublisher("hall", spool, broker)
    made.publish(LIMITS)
    return made


def states(broker: "FakeBroker") -> list[dict[str, object]]:
    return [json.loads(one.payload) for one in broker.published if "/status/" in one.topic]


def test_counters_are_published_as_signed(account: StatusPublisher, broker: "FakeBroker") -> None:
    tally = Tally(device="hall", boot="0" * 16, seq=3, heard_samples=16_000)
    for notice in (
        notices.StartedNotice(thresholds={"alexa": 0.5}, switch="none"),
        notices.sign_tally(tally, lambda _: b"s" * 64),
        notices.SpooledNotice(),
    ):
        account.take(notice, connected=True)

    account.publish_if_changed(100.0, LIMITS)

    said = states(broker)[-1]
    assert (
        json.dumps(said["counters"], sort_keys=True, separators=(",", ":")).encode()
        == tally.canonical()
    )
    assert str(said["signature"]).startswith("c3Nzc3Nz")
    assert said["hearing"] is True
    assert said["thresholds"] == {"alexa": 0.5}
    assert said["switch"] == "none"

    account.take(notices.StoppedNotice(), connected=True)
    account.publish_if_changed(100.0, LIMITS)
    assert states(broker)[-1]["hearing"] is False
    assert not {"thresholds", "switch", "mute"} & set(states(broker)[-1])


def test_state_that_is_repeated_is_published_once(
    account: StatusPublisher, broker: "FakeBroker"
) -> None:
    state = notices.StateNotice(
        mute="software", microphone="busy", losses=1, overruns=0, thresholds={"alexa": 0.5}
    )
    for at_s in (100.0, 105.0, 110.0):
        account.take(state, connected=True)
        account.expire_state(at_s)
        account.publish_if_changed(at_s, LIMITS)

    assert len(states(broker)) == 2, "the first status, and one with the state"
    published = states(broker)[-1]
    assert (published["hearing"], published["mute"]) == (True, "software")
    assert (published["microphone"], published["losses"]) == ("busy", 1)
    assert published["overruns"] == 0, "a known 0 is no unknown number"
    assert not [one for one in broker.published if "/event/" in one.topic]


def test_state_that_is_not_repeated_is_unknown(
    account: StatusPublisher, broker: "FakeBroker"
) -> None:
    tally = Tally(device="hall", boot="0" * 16, seq=3)
    account.take(notices.StateNotice(mute="open", microphone="open"), connected=True)
    account.take(notices.sign_tally(tally, lambda _: b"s" * 64), connected=True)
    account.expire_state(100.0)
    for at_s in (100.0, 99.9 + notices.STATE_FRESH_S, 100.0 + notices.STATE_FRESH_S):
        account.expire_state(at_s)
        account.publish_if_changed(at_s, LIMITS)

    told = [(state.get("hearing"), state.get("mute")) for state in states(broker)[-2:]]
    assert told == [(True, "open"), (None, None)]
    assert "counters" in states(broker)[-1], "signed, with the run that they belong to"


def test_new_run_of_hear_has_no_state_of_the_one_before(
    account: StatusPublisher, broker: "FakeBroker"
) -> None:
    account.take(notices.StateNotice(mute="software", microphone="open"), connected=True)
    account.take(notices.StartedNotice(switch="gpio"), connected=True)
    account.publish_if_changed(100.0, LIMITS)

    assert states(broker)[-1]["hearing"] is True
    assert not {"mute", "microphone"} & set(states(broker)[-1])


def test_status_is_repeated_and_expires(account: StatusPublisher, broker: "FakeBroker") -> None:
    for at_s in (100.0, 99.9 + REPEAT_S, 100.0 + REPEAT_S, 101.0 + REPEAT_S):
        account.publish_if_changed(at_s, LIMITS)

    assert len(states(broker)) == 2
    assert {one.expiry_s for one in broker.published} == {EXPIRY_S}
    assert EXPIRY_S > 2 * REPEAT_S
    assert will("hall").expiry_s is None


def test_voices_without_an_owner_are_published_where_they_are_compared(
    account: StatusPublisher, broker: "FakeBroker"
) -> None:
    counts = []
    for notice in (
        notices.StartedNotice(),
        notices.AttributionNotice(guests=2, bystanders=1),
        notices.StartedNotice(),
    ):
        account.take(notice, connected=True)
        account.publish(LIMITS)
        counts.append(states(broker)[-1].get("attribution"))

    assert counts == [None, {"guests": 2, "unsure": 0, "bystanders": 1}, None]


def test_change_of_the_counters_alone_waits_for_the_repetition(
    account: StatusPublisher, broker: "FakeBroker"
) -> None:
    for at_s, heard_samples in ((100.0, 0), (101.0, 1_280), (101.0 + REPEAT_S, 1_280)):
        tally = Tally(device="hall", boot="0" * 16, seq=3, heard_samples=heard_samples)
        account.take(notices.sign_tally(tally, lambda _: b"s" * 64), connected=True)
        account.publish_if_changed(at_s, LIMITS)

    heard = [state["counters"]["heard_samples"] for state in states(broker)[1:]]  # type: ignore[index] # JSON
    assert heard == [0, 1_280]


def test_status_contains_the_microphone(account: StatusPublisher, broker: "FakeBroker") -> None:
    lost = notices.MicrophoneNotice(state="lost", cause="missing", losses=1, overruns=2)
    for notice in (lost, notices.MicrophoneNotice(state="open", losses=1, overruns=2)):
        account.take(notice, connected=True)
        account.publish_if_changed(100.0, LIMITS)

    before, after = states(broker)[-2:]
    assert (before["microphone"], before["losses"], before["overruns"]) == ("missing", 1, 2)
    assert after["microphone"] == "open"


def test_changed_counts_are_published_after_a_pause(
    account: StatusPublisher, broker: "FakeBroker", spool: Spool
) -> None:
    before = len(states(broker))
    spool.put(str(uuid.UUID(int=1)), "ada", 1, b"sealed")
    account.publish_if_changed(100.0, LIMITS)
    assert len(states(broker)) == before

    account.publish_if_changed(100.0 + STATUS_PAUSE_S, LIMITS)

    assert len(states(broker)) == before + 1
    assert states(broker)[-1]["waiting"] == 1
    assert states(broker)[-1]["spool"] == {
        **dict.fromkeys(
            ("acked", "dropped", "erased", "expired", "refused", "quarantined", "released"), 0
        ),
        "spooled": 1,
    }


def test_version_is_published_again_when_an_update_starts(
    spool: Spool, broker: "FakeBroker"
) -> None:
    noted = [UpdateState(), UpdateState().begin("0.2.0", "0.1.0", "")]
    account = StatusPublisher(
        "hall", spool, broker, lambda: journal.report_version("0.1.0", journal.render(noted[0]))
    )
    account.publish(LIMITS)

    noted.pop(0)
    account.publish_if_changed(100.0, LIMITS)
    account.publish_if_changed(100.0 + STATUS_PAUSE_S, LIMITS)

    assert [state["version"] for state in states(broker)] == [
        {"installed": "0.1.0", "latest": "0.1.0"},
        {"installed": "0.1.0", "latest": "0.2.0", "in_progress": True},
    ]


def test_status_is_not_retained_without_broker_support(
    account: StatusPublisher, broker: "FakeBroker"
) -> None:
    account.publish(BrokerLimits(retain=False))

    assert [one.retain for one in broker.published] == [True, False]


def test_event_that_the_client_rejects_is_counted(
    account: StatusPublisher, broker: "FakeBroker"
) -> None:
    broker.full = True
    account.take(notices.WakeNotice(word="alexa", score=0.9), connected=True)
    broker.full = False
    account.take(notices.WakeNotice(word="alexa", score=0.9), connected=False)

    account.publish(LIMITS)

    assert states(broker)[-1]["events_missed"] == 2


def test_last_will_is_the_retained_offline_status() -> None:
    said = will("hall")

    assert (said.topic, said.payload, said.retain) == (
        "earmark/v1/status/hall",
        topics.OFFLINE,
        True,
    )


def test_default_values_are_omitted() -> None:
    assert json.loads(msgspec.json.encode(Status(state="online"))) == {"state": "online"}


def test_switch_is_omitted_before_hear_reports_it() -> None:
    assert Status(state="online").switch is None


def test_state_of_the_detector_is_published_and_its_speed_waits_for_the_repetition(
    account: StatusPublisher, broker: "FakeBroker"
) -> None:
    account.take(notices.StartedNotice(thresholds={"alexa": 0.5}), connected=True)
    account.publish_if_changed(100.0, LIMITS)
    before = len(states(broker))

    account.take(notices.DetectorNotice(p99_ms=7.5, cpu_percent=12.0), connected=True)
    account.publish_if_changed(101.0, LIMITS)
    assert len(states(broker)) == before
    account.take(notices.DetectorNotice(only="alexa", p99_ms=8.5), connected=True)
    account.publish_if_changed(102.0, LIMITS)

    said = states(broker)[-1]
    assert (len(states(broker)), said["only"], said["p99_ms"]) == (before + 1, "alexa", 8.5)
    account.take(notices.StoppedNotice(), connected=True)
    account.publish_if_changed(103.0, LIMITS)
    assert not {"only", "p99_ms", "cpu_percent"} & states(broker)[-1].keys()


def test_false_wakes_and_temperature_are_published(
    spool: Spool, broker: "FakeBroker", tmp_path: Path
) -> None:
    false_wakes = FalseWakes(tmp_path)
    publisher = StatusPublisher(
        "hall", spool, broker, temperature_c=lambda: 48.5, false_wakes=false_wakes
    )

    assert not publisher.mark_false_wake()
    publisher.take(notices.WakeNotice(word="alexa", score=0.9), connected=True)
    tally = Tally(device="hall", boot="0" * 16, seq=3, heard_samples=16_000 * 36_000)
    publisher.take(notices.sign_tally(tally, lambda _: b"s" * 64), connected=True)
    publisher.publish_if_changed(100.0, LIMITS)
    before = len(states(broker))
    assert publisher.mark_false_wake()
    publisher.publish_if_changed(100.1, LIMITS)

    said = states(broker)[-1]
    assert len(states(broker)) == before + 1, "at once"
    assert said["temperature_c"] == 48.5
    assert said["false_wakes"] == {
        "marked": 1,
        "hours": 10.0,
        "per_hour": 0.1,
        "low": 0.00253,
        "high": 0.557,
    }


@pytest.mark.parametrize("hermes", [False, True])
def test_wake_is_published_for_rhasspy_by_option(
    spool: Spool, broker: "FakeBroker", *, hermes: bool
) -> None:
    account = StatusPublisher("hall", spool, broker, hermes=hermes)
    for notice in (
        notices.WakeNotice(word="alexa", score=0.9),
        notices.NearMissNotice(word="alexa", score=0.4),
    ):
        account.take(notice, connected=True)
    account.take(notices.WakeNotice(word="alexa", score=0.9), connected=False)

    hotwords = [one for one in broker.published if one.topic.startswith("hermes/")]
    assert [one.topic for one in hotwords] == ["hermes/hotword/alexa/detected"] * hermes
    assert not any(one.retain for one in hotwords)
    for one in hotwords:
        assert json.loads(one.payload) == {
            "modelId": "alexa",
            "siteId": "hall",
            "modelVersion": "",
            "modelType": "universal",
            "currentSensitivity": 1,
        }
