"""Events at once, and a status that stays true.

The retained status, and the last will.
"""

import json
import uuid
from typing import TYPE_CHECKING

import msgspec
import pytest

from listener.ipc import notices
from listener.ipc.notices import Tally
from listener.mqtt import topics
from listener.mqtt.client import BrokerLimits
from listener.release import state as journal
from listener.release.state import UpdateState
from listener.send.status import STATUS_PAUSE_S, Status, StatusPublisher, will
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
    assert "hearing" not in states(broker)[-1]


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
