import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.hear import events
from listener.hear.events import CAUSES, to_text
from listener.hear.microphone.protocol import Cause
from tests.hear.events import EVENTS


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_event_round_trips_as_one_json_line(event: events.Event) -> None:
    line = events.to_json(event)

    assert "\n" not in line
    assert events.from_json(line) == event
    assert msgspec.json.decode(line)["event"]


@given(st.binary(max_size=200))
def test_invalid_event_raises_value_error(data: bytes) -> None:
    try:
        events.from_json(data)
    except ValueError as error:
        assert "not an event" in str(error)  # noqa: PT017 - any bytes, mostly none


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="not an event"):
        events.from_json('{"event":"muted","time_s":1,"cause":"hardware","sound":"aGVsbG8="}')


def test_every_event_has_a_text_line() -> None:
    lines = [to_text(event) for event in EVENTS]

    assert lines[0] == (
        "hear     scène.flac in real time; no mute switch; listens for alexa; keeper ada"
    )
    assert lines[1] == "wake        12.48 s  alexa  0.97"
    assert lines[-1] == (
        "total    heard 50.00 s: 46.80 s discarded, 3.20 s sealed in 1 clip; muted 10.00 s"
    )
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_a_text(cause: Cause) -> None:
    assert CAUSES[cause]


def test_device_is_named_when_there_is_no_recording() -> None:
    started = msgspec.structs.replace(EVENTS[0], files=(), device="usb mic", switch="input")

    assert to_text(started) == (
        "hear     usb mic; mute switch: input; listens for alexa; keeper ada"
    )
