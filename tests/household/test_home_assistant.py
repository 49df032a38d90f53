import json
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from listener.errors import Unavailable
from listener.household import home_assistant
from listener.household.home_assistant import announce
from listener.household.registry import Speaker
from listener.ipc.notices import Tally
from listener.mqtt import topics
from listener.mqtt.client import (
    BrokerEvent,
    BrokerLimits,
    ConnectedEvent,
    ConnectionLostEvent,
    DeliveredEvent,
    DeniedEvent,
    Message,
    RejectedEvent,
    Waitable,
)
from listener.release import state as update_state
from listener.release.state import UpdateState
from listener.send.status import Status
from listener.spool.ledger import Counts
from tests.household import fake_home_assistant

DKEY = "a" * 24
HALL = Speaker(name="hall", area="Hall")
LOUD = Speaker(name="hall", remote_unmute=True)
TALLY = Tally(device="hall", boot="0" * 16, seq=3, wakes=5, near_misses=2, sealed=4)


def discovery(speaker: Speaker = HALL) -> dict[str, Any]:
    message = home_assistant.discovery_message(speaker, DKEY)
    return fake_home_assistant.check(message.topic, message.payload)


def state(name: str, status: bytes, speaker: Speaker = HALL) -> str:
    component = discovery(speaker)["components"][name]
    return fake_home_assistant.render(component["value_template"], status)


def status(**fields: object) -> bytes:
    return msgspec.json.encode(msgspec.convert({"state": "online"} | fields, Status))


@pytest.mark.parametrize("speaker", [HALL, LOUD, Speaker(name="a" * 32, area="Küche")])
def test_discovery_message_is_valid(speaker: Speaker) -> None:
    message = home_assistant.discovery_message(speaker, DKEY)

    fake_home_assistant.check(message.topic, message.payload)

    assert message.retain
    assert message.topic == f"homeassistant/device/earmark-{speaker.name}/config"
    assert len(message.payload) < 8192


def test_room_is_the_area_and_not_in_the_name() -> None:
    assert discovery(HALL)["device"]["suggested_area"] == "Hall"
    assert discovery(HALL)["device"]["name"] == "Earmark"
    assert discovery(Speaker(name="hall"))["device"]["name"] == "Earmark hall"


def test_last_will_makes_device_unavailable_and_renders() -> None:
    shown = discovery()
    [available] = shown["availability"]
    states = {
        name: fake_home_assistant.render(component["value_template"], topics.OFFLINE)
        for name, component in shown["components"].items()
        if component["platform"] not in {"event", "button", "update"}
    }

    assert fake_home_assistant.render(available["value_template"], topics.OFFLINE) == "offline"
    assert fake_home_assistant.render(available["value_template"], status()) == "online"
    # A 0 here would look like a restart to a counter that only grows.
    assert {
        states[name]
        for name, component in shown["components"].items()
        if component["platform"] == "sensor"
    } == {"None"}


def test_states_render_the_status() -> None:
    online = status(
        hearing=True,
        mute="open",
        counters=TALLY,
        signature="",
        spool=Counts(dropped=7),
        waiting=9,
    )

    states = {
        name: state(name, online)
        for name in ("wakes", "near-misses", "sealed", "dropped", "waiting", "losses")
    }

    assert states == {
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
def test_mute_microphone_and_fault_are_distinct_states(
    mute: str, hardware: str, microphone: str, fault: str
) -> None:
    online = status(hearing=True, mute=mute, switch="input")

    assert state("hardware-mute", online) == hardware
    assert state("microphone", online) == microphone
    assert state("fault", online) == fault
    assert state("mute", online, LOUD) == ("OFF" if mute == "open" else "ON")


@pytest.mark.parametrize("mute", ["open", "software", "fault"])
def test_hardware_mute_is_unknown_without_a_switch(mute: str) -> None:
    online = status(hearing=True, mute=mute, switch="none")

    assert state("hardware-mute", online) == "None"
    assert state("mute", online, LOUD) == ("OFF" if mute == "open" else "ON")


def test_lost_microphone_is_a_fault_and_not_open() -> None:
    online = b'{"state":"online","hearing":true,"mute":"open","microphone":"gone"}'

    assert state("microphone", online) == "OFF"
    assert state("fault", online) == "ON"
    assert state("microphone", status(mute="open")) == "OFF"


def test_thresholds_render_as_one_line() -> None:
    online = b'{"state":"online","thresholds":{"alexa":0.5,"timer":0.25}}'

    assert state("threshold", online) == "alexa 0.5, timer 0.25"


def test_wake_is_an_event_and_other_kinds_are_ignored() -> None:
    event = discovery()["components"]["wake"]
    wake = topics.EventPayload(event_type="wake", word="alexa").encode()
    mute = topics.EventPayload(event_type="mute", state="hardware").encode()

    rendered = json.loads(fake_home_assistant.render(event["value_template"], wake))

    assert rendered == {"event_type": "wake", "word": "alexa"}
    assert rendered["event_type"] in event["event_types"]
    assert fake_home_assistant.render(event["value_template"], mute) == ""
    assert not topics.EVENT.retain


def test_version_entity_shows_versions_and_has_no_command() -> None:
    update = discovery()["components"]["update"]
    begun = UpdateState().begin("0.2.0", "0.1.0", "quieter")

    def shown(noted: UpdateState) -> dict[str, Any] | None:
        version = update_state.report_version("0.1.0", update_state.render(noted))
        return fake_home_assistant.update_state(update["value_template"], status(version=version))

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
    assert fake_home_assistant.update_state(update["value_template"], topics.OFFLINE) is None
    assert fake_home_assistant.update_state(update["value_template"], status()) is None
    assert "command_topic" not in update


def test_unmuting_needs_permission_and_is_never_by_voice() -> None:
    quiet, loud = discovery(HALL)["components"]["mute"], discovery(LOUD)["components"]["mute"]

    assert (quiet["platform"], quiet["payload_press"]) == ("button", "mute")
    assert "unmute" not in json.dumps(discovery(HALL))
    assert (loud["platform"], loud["payload_on"], loud["payload_off"]) == (
        "switch",
        "mute",
        "unmute",
    )
    for component in (quiet, loud):
        assert component["entity_category"] == "config"
        assert component["retain"] is False
        assert component["command_topic"] == "earmark/v1/command/hall"


def test_no_state_holds_audio_a_name_or_a_transcript() -> None:
    shown = json.dumps(discovery()).lower()

    assert not any(word in shown for word in ("clips/", "/ack/", "okey", "score", "transcript"))
    topics_used = {
        component[key]
        for component in discovery()["components"].values()
        for key in ("state_topic", "command_topic")
        if key in component
    }
    assert topics_used == {"earmark/v1/event/hall", "earmark/v1/command/hall"}


def test_removal_message_is_empty_and_retained() -> None:
    gone = home_assistant.removal_message("earmark-hall")

    assert (gone.payload, gone.retain) == (b"", True)


NODES = {
    f"earmark-{name}": home_assistant.discovery_message(Speaker(name=name), "a" * 24)
    for name in ("hall", "kitchen")
}


class KeepingBroker:
    """A broker in memory that keeps retained messages; time passes while it is polled."""

    def __init__(self, kept: Sequence[Message] = (), welcome: BrokerEvent | None = None) -> None:
        self.kept = {message.topic: message for message in kept}
        self.published: list[Message] = []
        self.closed = False
        self.answer: BrokerEvent | None = None
        self.now_s = 0.0
        self._welcome = welcome or ConnectedEvent(BrokerLimits(), "5")
        self._happens: deque[BrokerEvent] = deque()

    def connect(self) -> None:
        self._happens.append(self._welcome)

    def subscribe(self, pattern: str) -> None:
        assert pattern == "homeassistant/device/+/config"
        self._happens.extend(self.kept.values())

    def publish(self, message: Message) -> int:
        self.published.append(message)
        ticket = len(self.published)
        self._happens.append(self.answer or DeliveredEvent(ticket))
        self.kept[message.topic] = message
        if not message.payload:
            del self.kept[message.topic]
        return ticket

    def poll(self, longest_s: float, also: Sequence[Waitable] = ()) -> list[BrokerEvent]:
        assert not also
        happened = list(self._happens)
        self._happens.clear()
        if not happened:
            self.now_s += longest_s
        return happened

    def close(self) -> None:
        self.closed = True

    def clock(self) -> float:
        return self.now_s


def test_unchanged_discovery_message_is_not_published_again() -> None:
    broker = KeepingBroker()

    first = announce(broker, NODES, broker.clock)
    second = announce(broker, NODES, broker.clock)

    assert (first, second) == ((2, 0), (0, 0))
    assert broker.published == list(NODES.values())
    assert broker.closed


def test_removed_devices_are_cleared_and_foreign_ones_are_kept() -> None:
    theirs = Message("homeassistant/device/lamp/config", b"{}", retain=True)
    broker = KeepingBroker([*NODES.values(), theirs])

    done = announce(broker, {"earmark-hall": NODES["earmark-hall"]}, broker.clock)

    assert done == (0, 1)
    assert set(broker.kept) == {NODES["earmark-hall"].topic, theirs.topic}


def test_many_messages_respect_the_in_flight_limit() -> None:
    broker = KeepingBroker()
    many = {
        f"earmark-{number}": home_assistant.discovery_message(Speaker(name=str(number)), "a" * 24)
        for number in range(100)
    }

    assert announce(broker, many, broker.clock) == (100, 0)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (ConnectionLostEvent("no answer"), "no connection to the broker: no answer"),
        (DeniedEvent("Not authorized"), "denied access"),
    ],
)
def test_missing_broker_is_reported(event: BrokerEvent, why: str) -> None:
    broker = KeepingBroker(welcome=event)

    with pytest.raises(Unavailable, match=why):
        announce(broker, NODES, broker.clock)
    assert broker.closed


def test_broker_that_denies_or_is_silent_is_reported() -> None:
    refusing, mute, silent = (
        KeepingBroker(),
        KeepingBroker(),
        KeepingBroker(welcome=DeliveredEvent(9)),
    )
    refusing.answer = RejectedEvent(1, 0x87, "Not authorized")
    mute.answer = DeliveredEvent(99)

    with pytest.raises(Unavailable, match="denied access: Not authorized"):
        announce(refusing, NODES, refusing.clock)
    with pytest.raises(Unavailable, match="does not acknowledge"):
        announce(mute, NODES, mute.clock)
    with pytest.raises(Unavailable, match="does not answer"):
        announce(silent, NODES, silent.clock)
