import json
from collections import deque
from collections.abc import Sequence
from typing import Any, get_args

import msgspec
import pytest

from listener.errors import Unavailable
from listener.household import home_assistant
from listener.household.home_assistant import UNKNOWN_FACTS, SpeakerFacts, announce
from listener.household.registry import Speaker
from listener.ipc.notices import CommandEnd, Tally
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


def discovery(speaker: Speaker = HALL, facts: SpeakerFacts = UNKNOWN_FACTS) -> dict[str, Any]:
    message = home_assistant.discovery_message(speaker, DKEY, facts)
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
    assert len(message.payload) < 16_384


def test_announcements_need_assist_and_no_broker_stores_their_text() -> None:
    assert "announce" not in discovery()["components"]

    message = home_assistant.discovery_message(HALL, DKEY, has_assist=True)
    announce = fake_home_assistant.check(message.topic, message.payload)["components"]["announce"]

    assert announce["command_topic"] == "earmark/v1/announce/hall"
    assert (announce["qos"], announce["retain"]) == (0, False)
    assert "entity_category" not in announce, "an action for an area reaches it"


@pytest.mark.parametrize("area", [None, "Hall"])
def test_names_and_ids_tell_speakers_apart_with_and_without_area(area: str | None) -> None:
    shown = [discovery(Speaker(name=name, area=area)) for name in ("hall", "top-floor")]

    assert [one["device"].get("suggested_area") for one in shown] == [area, area]
    assert [one["device"]["name"] for one in shown] == ["Earmark hall", "Earmark top-floor"]
    assert [one["components"]["muted-by"]["default_entity_id"] for one in shown] == [
        "sensor.earmark_hall_muted_by",
        "sensor.earmark_top_floor_muted_by",
    ]


def test_version_of_the_device_is_the_one_that_it_reports() -> None:
    assert "sw_version" not in discovery()["device"]
    assert discovery(facts=SpeakerFacts(version="1.2.3"))["device"]["sw_version"] == "1.2.3"


def test_last_will_makes_device_unavailable_and_renders() -> None:
    shown = discovery()
    available, _ = shown["availability"]
    states = {
        name: fake_home_assistant.render(component["value_template"], topics.OFFLINE)
        for name, component in shown["components"].items()
        if component["platform"] in {"sensor", "binary_sensor", "switch", "number", "select"}
    }

    assert fake_home_assistant.render(available["value_template"], topics.OFFLINE) == "offline"
    assert fake_home_assistant.render(available["value_template"], status()) == "online"
    # A 0 here would look like a restart to a counter that only grows.
    assert set(states.values()) == {"None"}


def test_state_of_hear_that_send_does_not_know_is_unknown() -> None:
    online = status(waiting=3, spool=Counts(dropped=7))
    known = {"waiting", "not-stored", "dropped", "erased", "quarantined"}

    states = {
        name: fake_home_assistant.render(component["value_template"], online)
        for name, component in discovery(LOUD)["components"].items()
        if component["platform"] in {"sensor", "binary_sensor", "switch", "number", "select"}
        and name not in known
    }

    assert set(states.values()) == {"None"}
    assert state("waiting", online) == "3"


def test_device_is_unavailable_while_the_bridge_is_not_connected() -> None:
    _, bridge = discovery()["availability"]

    assert bridge["topic"] == "earmark/bridge"
    assert fake_home_assistant.render(bridge["value_template"], b"0") == "offline"
    # The status, which arrives again through the bridge, decides from then on.
    assert fake_home_assistant.render(bridge["value_template"], b"1") == ""
    assert discovery()["availability_mode"] == "latest"


def test_states_render_the_status() -> None:
    online = status(
        hearing=True,
        mute="open",
        counters=TALLY,
        signature="",
        spool=Counts(dropped=7),
        waiting=9,
        microphone="open",
        losses=0,
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
        # A fault comes before the switch, and does not tell where it is.
        ("fault", "None", "OFF", "ON"),
    ],
)
def test_mute_microphone_and_fault_are_distinct_states(
    mute: str, hardware: str, microphone: str, fault: str
) -> None:
    online = status(hearing=True, mute=mute, switch="input", microphone="open")

    assert state("muted-by", online) == mute
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
    assert state("microphone", status(mute="open")) == "None"
    stopped = b'{"state":"online","hearing":false,"mute":"open","microphone":"open"}'
    assert state("microphone", stopped) == "OFF"


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"waiting": 0}, "nothing"),
        ({"waiting": 2, "not_stored": "owner"}, "owner"),
        ({"waiting": 2, "not_stored": "later"}, "other"),
        ({}, "None"),
    ],
)
def test_reason_for_which_the_archive_stores_nothing_is_shown(
    fields: dict[str, object], shown: str
) -> None:
    assert state("not-stored", status(**fields)) == shown


def test_thresholds_render_as_one_line() -> None:
    online = b'{"state":"online","thresholds":{"alexa":0.5,"timer":0.25}}'

    assert state("threshold", online) == "alexa 0.5, timer 0.25"


def test_wake_and_mute_are_events_and_other_kinds_are_ignored() -> None:
    event = discovery()["components"]["wake"]
    wake = topics.EventPayload(event_type="wake", word="alexa").encode()
    mute = topics.EventPayload(event_type="mute", state="hardware").encode()

    shown = [
        json.loads(fake_home_assistant.render(event["value_template"], payload))
        for payload in (wake, mute)
    ]

    assert shown == [
        {"event_type": "wake", "word": "alexa", "state": ""},
        {"event_type": "mute", "word": "", "state": "hardware"},
    ]
    assert {one["event_type"] for one in shown} <= set(event["event_types"])
    assert fake_home_assistant.render(event["value_template"], b'{"event_type":"later"}') == ""
    assert not topics.EVENT.retain


def test_outcomes_of_commands_are_events() -> None:
    components = discovery()["components"]
    command, wake = components["command"], components["wake"]

    for outcome in get_args(CommandEnd):
        event = topics.EventPayload(event_type="command", outcome=outcome).encode()
        shown = json.loads(fake_home_assistant.render(command["value_template"], event))
        assert shown == {"event_type": outcome}
        assert outcome in command["event_types"]
        assert fake_home_assistant.render(wake["value_template"], event) == ""
    other = topics.EventPayload(event_type="wake", word="alexa").encode()
    assert fake_home_assistant.render(command["value_template"], other) == ""
    assert fake_home_assistant.render(command["value_template"], b'{"event_type":"command"}') == ""


def test_device_triggers_fire_at_their_event_only() -> None:
    triggers = {
        name: component
        for name, component in discovery()["components"].items()
        if component["platform"] == "device_automation"
    }

    kinds = {"wake", "near_miss", "mute", "command"}
    assert {one["payload"] for one in triggers.values()} == kinds
    for one in triggers.values():
        event = topics.EventPayload(event_type=one["payload"], word="alexa").encode()
        assert fake_home_assistant.render(one["value_template"], event) == one["payload"]
        assert one["topic"] == "earmark/v1/event/hall"


def test_false_wakes_show_their_rate_with_its_interval() -> None:
    shown = {"marked": 3, "hours": 30.5, "per_hour": 0.098, "low": 0.02, "high": 0.287}
    components = discovery()["components"]

    assert components["false-wake"]["payload_press"] == "false-wake"
    assert topics.parse_command(b"false-wake") == "false-wake"
    assert {
        name: state(name, status(false_wakes=shown))
        for name in components
        if name.startswith("false-wake") and name != "false-wake"
    } == {
        "false-wakes": "3",
        "false-wake-rate": "0.098",
        "false-wake-rate-low": "0.02",
        "false-wake-rate-high": "0.287",
    }
    assert state("false-wake-rate", status(false_wakes={"marked": 0, "hours": 0.5})) == "None"


def test_numbers_and_word_send_commands_that_the_speaker_knows() -> None:
    facts = SpeakerFacts(words=("alexa", "hey-jarvis"))
    components = discovery(facts=facts)["components"]
    online = status(thresholds={"alexa": 0.5, "hey-jarvis": 0.25})
    number, word = components["threshold-alexa"], components["word"]

    def sent(component: dict[str, Any], value: object) -> topics.Command | None:
        text = fake_home_assistant.render_command(component["command_template"], value)
        return topics.parse_command(text.encode())

    def shown(component: dict[str, Any], payload: bytes) -> str:
        return fake_home_assistant.render(component["value_template"], payload)

    assert sent(number, 0.65) == topics.ThresholdCommand("alexa", 0.65)
    assert None not in [sent(number, number[end]) for end in ("min", "max")]
    assert shown(number, online) == "0.5"
    assert word["options"] == ["All words", "alexa", "hey-jarvis"]
    assert sent(word, "All words") == topics.WordCommand(None)
    assert sent(word, "alexa") == topics.WordCommand("alexa")
    assert shown(word, online) == "All words"
    assert shown(word, status(thresholds={"alexa": 0.5}, only="alexa")) == "alexa"
    assert {shown(one, topics.OFFLINE) for one in (number, word)} == {"None"}
    for component in (number, word):
        assert component["entity_category"] == "config"
        assert component["retain"] is False
    assert "word" not in discovery(facts=SpeakerFacts(words=("alexa",)))["components"]


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
        for key in ("state_topic", "command_topic", "topic")
        if key in component
    }
    assert topics_used == {"earmark/v1/event/hall", "earmark/v1/command/hall"}


def test_removal_message_is_empty_and_retained() -> None:
    gone = home_assistant.removal_message("earmark-hall")

    assert (gone.payload, gone.retain) == (b"", True)


DEVICES = ("hall", "kitchen")


def message(device: str, facts: SpeakerFacts = UNKNOWN_FACTS) -> Message:
    return home_assistant.discovery_message(Speaker(name=device), DKEY, facts)


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
        prefix = {"homeassistant/device/+/config": "homeassistant/device/"}.get(
            pattern, "earmark/v1/status/"
        )
        assert pattern in {"homeassistant/device/+/config", "earmark/v1/status/+"}
        self._happens.extend(
            message for topic, message in self.kept.items() if topic.startswith(prefix)
        )

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

    first = announce(broker, message, DEVICES, broker.clock)
    second = announce(broker, message, DEVICES, broker.clock)

    assert (first, second) == ((2, 0), (0, 0))
    assert broker.published == list(map(message, DEVICES))
    assert broker.closed


def test_facts_come_from_the_status_and_stay_while_the_speaker_is_offline() -> None:
    online = status(
        version=update_state.report_version("0.1.0", update_state.render(UpdateState())),
        thresholds={"timer": 0.5, "alexa": 0.5},
    )
    told = Message(topics.STATUS.name(device="hall"), online, retain=True)
    broker = KeepingBroker([told])

    announce(broker, message, ["hall"], broker.clock)
    broker.kept[told.topic] = Message(told.topic, topics.OFFLINE, retain=True)

    expected = message("hall", SpeakerFacts(version="0.1.0", words=("alexa", "timer")))
    assert broker.published == [expected]
    assert announce(broker, message, ["hall"], broker.clock) == (0, 0)


def test_voices_without_an_owner_have_sensors_where_they_are_compared() -> None:
    names = {"guests", "unsure", "bystanders"}
    online = status(attribution={"guests": 2, "unsure": 1, "bystanders": 0})
    facts = home_assistant.parse_status_facts(online)
    components = discovery(facts=facts)["components"]

    assert not names & discovery()["components"].keys()
    rendered = {
        name: fake_home_assistant.render(components[name]["value_template"], online)
        for name in sorted(names)
    }
    assert rendered == {"bystanders": "0", "guests": "2", "unsure": "1"}
    assert (
        fake_home_assistant.render(components["guests"]["value_template"], topics.OFFLINE) == "None"
    )


def test_sensors_of_voices_stay_while_the_speaker_is_offline() -> None:
    topic = topics.STATUS.name(device="hall")
    online = status(
        thresholds={"alexa": 0.5}, attribution={"guests": 2, "unsure": 1, "bystanders": 0}
    )
    broker = KeepingBroker([Message(topic, online, retain=True)])
    announce(broker, message, ["hall"], broker.clock)

    broker.kept[topic] = Message(topic, topics.OFFLINE, retain=True)
    assert announce(broker, message, ["hall"], broker.clock) == (0, 0)

    broker.kept[topic] = Message(topic, status(thresholds={"alexa": 0.5}), retain=True)
    assert announce(broker, message, ["hall"], broker.clock) == (1, 0)
    assert b'"guests"' not in broker.published[-1].payload, "it compares no voices any more"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[" * 10_000,
        b'{"version":{"installed":"{{ states }}"}}',
        b'{"thresholds":{"{{ x }}":0.5}}',
        b'{"thresholds":{"alexa":7}}',
        b'{"device":{"sw_version":"a b"}}',
        b'{"components":{"threshold-{{ x }}":{}}}',
    ],
)
def test_facts_of_a_hostile_speaker_are_not_used(payload: bytes) -> None:
    assert home_assistant.parse_status_facts(payload) == UNKNOWN_FACTS
    assert home_assistant.parse_announced_facts(payload) == UNKNOWN_FACTS


def test_removed_devices_are_cleared_and_foreign_ones_are_kept() -> None:
    theirs = Message("homeassistant/device/lamp/config", b"{}", retain=True)
    broker = KeepingBroker([*map(message, DEVICES), theirs])

    done = announce(broker, message, ["hall"], broker.clock)

    assert done == (0, 1)
    assert set(broker.kept) == {message("hall").topic, theirs.topic}


def test_many_messages_respect_the_in_flight_limit() -> None:
    broker = KeepingBroker()

    assert announce(broker, message, map(str, range(100)), broker.clock) == (100, 0)


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
        announce(broker, message, DEVICES, broker.clock)
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
        announce(refusing, message, DEVICES, refusing.clock)
    with pytest.raises(Unavailable, match="does not acknowledge"):
        announce(mute, message, DEVICES, mute.clock)
    with pytest.raises(Unavailable, match="does not answer"):
        announce(silent, message, DEVICES, silent.clock)
