import json
from typing import Any

import msgspec
import pytest

from listener.household import discovery
from listener.household.register import Speaker
from listener.ipc.notices import Tally
from listener.mqtt import topics
from listener.release import state as journal
from listener.release.state import UpdateState
from listener.send.status import Status
from listener.spool.ledger import Counts
from tests.household import home_assistant

DKEY = "a" * 24
HALL = Speaker(name="hall", area="Hall")
LOUD = Speaker(name="hall", remote_unmute=True)
TALLY = Tally(device="hall", boot="0" * 16, seq=3, wakes=5, near_misses=2, sealed=4)


def told(speaker: Speaker = HALL) -> dict[str, Any]:
    message = discovery.discovery_message(speaker, DKEY)
    return home_assistant.check(message.topic, message.payload)


def state(name: str, status: bytes, speaker: Speaker = HALL) -> str:
    component = told(speaker)["components"][name]
    return home_assistant.render(component["value_template"], status)


def status(**fields: object) -> bytes:
    return msgspec.json.encode(msgspec.convert({"state": "online"} | fields, Status))


@pytest.mark.parametrize("speaker", [HALL, LOUD, Speaker(name="a" * 32, area="Küche")])
def test_home_assistant_takes_it(speaker: Speaker) -> None:
    message = discovery.discovery_message(speaker, DKEY)

    home_assistant.check(message.topic, message.payload)

    assert message.retain
    assert message.topic == f"homeassistant/device/earmark-{speaker.name}/config"
    assert len(message.payload) < 8192


def test_the_room_stands_in_the_area_and_not_in_the_name() -> None:
    assert told(HALL)["device"]["suggested_area"] == "Hall"
    assert told(HALL)["device"]["name"] == "Earmark"
    assert told(Speaker(name="hall"))["device"]["name"] == "Earmark hall"


def test_the_last_will_makes_it_unavailable_and_no_template_stumbles() -> None:
    shown = told()
    [available] = shown["availability"]
    states = {
        name: home_assistant.render(component["value_template"], topics.OFFLINE)
        for name, component in shown["components"].items()
        if component["platform"] not in {"event", "button", "update"}
    }

    assert home_assistant.render(available["value_template"], topics.OFFLINE) == "offline"
    assert home_assistant.render(available["value_template"], status()) == "online"
    # A 0 here would look like a restart to a counter that only grows.
    assert {
        states[name]
        for name, component in shown["components"].items()
        if component["platform"] == "sensor"
    } == {"None"}


def test_states_are_what_the_status_says() -> None:
    online = status(
        hearing=True,
        mute="open",
        counters=TALLY,
        signature="",
        spool=Counts(dropped=7),
        waiting=9,
    )

    told_states = {
        name: state(name, online)
        for name in ("wakes", "near-misses", "sealed", "dropped", "waiting", "losses")
    }

    assert told_states == {
        "wakes": "5",
        "near-misses": "2",
        "sealed": "4",
        "dropped": "7",
        "waiting": "9",
        "losses": "0",
    }


@pytest.mark.parametrize(
    ("mute", "hardware", "microphone", "fault"),
    [
        ("open", "OFF", "ON", "OFF"),
        ("hardware", "ON", "OFF", "OFF"),
        ("software", "OFF", "OFF", "OFF"),
        ("fault", "OFF", "OFF", "ON"),
    ],
)
def test_mute_microphone_and_fault_are_told_apart(
    mute: str, hardware: str, microphone: str, fault: str
) -> None:
    online = status(hearing=True, mute=mute, switch="input")

    assert state("hardware-mute", online) == hardware
    assert state("microphone", online) == microphone
    assert state("fault", online) == fault
    assert state("mute", online, LOUD) == ("OFF" if mute == "open" else "ON")


@pytest.mark.parametrize("mute", ["open", "software", "fault"])
def test_without_a_switch_nothing_is_said_of_a_hardware_mute(mute: str) -> None:
    online = status(hearing=True, mute=mute, switch="none")

    assert state("hardware-mute", online) == "None"
    assert state("mute", online, LOUD) == ("OFF" if mute == "open" else "ON")


def test_a_microphone_that_is_lost_is_a_fault_and_not_open() -> None:
    online = b'{"state":"online","hearing":true,"mute":"open","microphone":"gone"}'

    assert state("microphone", online) == "OFF"
    assert state("fault", online) == "ON"
    assert state("microphone", status(mute="open")) == "OFF"


def test_thresholds_are_one_line() -> None:
    online = b'{"state":"online","thresholds":{"alexa":0.5,"timer":0.25}}'

    assert state("threshold", online) == "alexa 0.5, timer 0.25"


def test_a_wake_is_an_event_with_its_word_and_other_events_are_left_out() -> None:
    event = told()["components"]["wake"]
    wake = topics.EventPayload(event_type="wake", word="alexa").encode()
    mute = topics.EventPayload(event_type="mute", state="hardware").encode()

    rendered = json.loads(home_assistant.render(event["value_template"], wake))

    assert rendered == {"event_type": "wake", "word": "alexa"}
    assert rendered["event_type"] in event["event_types"]
    assert home_assistant.render(event["value_template"], mute) == ""
    assert not topics.EVENT.retain


def test_the_version_that_runs_and_the_one_on_its_way_are_shown_and_nobody_can_command_it() -> None:
    update = told()["components"]["update"]
    begun = UpdateState().begin("0.2.0", "0.1.0", "quieter")

    def shown(noted: UpdateState) -> dict[str, Any] | None:
        told_ = journal.report_version("0.1.0", journal.render(noted))
        return home_assistant.update_state(update["value_template"], status(version=told_))

    assert shown(UpdateState()) == {
        "installed_version": "0.1.0",
        "latest_version": "0.1.0",
        "in_progress": False,
        "release_summary": "",
        "title": "Earmark",
    }
    assert (shown(begun) or {})["in_progress"] is True
    failed = shown(begun.roll_back("hear did not score within 60 s")) or {}
    assert failed["latest_version"] == "0.2.0"
    assert failed["release_summary"] == "It was taken back: hear did not score within 60 s"
    assert home_assistant.update_state(update["value_template"], topics.OFFLINE) is None
    assert home_assistant.update_state(update["value_template"], status()) is None
    assert "command_topic" not in update


def test_unmuting_is_offered_only_where_it_is_allowed_and_never_by_voice() -> None:
    quiet, loud = told(HALL)["components"]["mute"], told(LOUD)["components"]["mute"]

    assert (quiet["platform"], quiet["payload_press"]) == ("button", "mute")
    assert "unmute" not in json.dumps(told(HALL))
    assert (loud["platform"], loud["payload_on"], loud["payload_off"]) == (
        "switch",
        "mute",
        "unmute",
    )
    for component in (quiet, loud):
        assert component["entity_category"] == "config"
        assert component["retain"] is False
        assert component["command_topic"] == "earmark/v1/command/hall"


def test_no_state_is_sound_or_a_name_or_what_was_said() -> None:
    shown = json.dumps(told()).lower()

    assert not any(word in shown for word in ("clips/", "/ack/", "okey", "score", "transcript"))
    topics_used = {
        component[key]
        for component in told()["components"].values()
        for key in ("state_topic", "command_topic")
        if key in component
    }
    assert topics_used == {"earmark/v1/event/hall", "earmark/v1/command/hall"}


def test_a_farewell_is_empty_and_retained() -> None:
    gone = discovery.removal_message("earmark-hall")

    assert (gone.payload, gone.retain) == (b"", True)
