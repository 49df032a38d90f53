import msgspec
import pytest

from listener.hear.microphone.records import Cause
from listener.hear.wording import CAUSES, to_text
from tests.hear.events import EVENTS


def test_every_event_has_its_words_for_people() -> None:
    lines = [to_text(event) for event in EVENTS]

    assert lines[0] == (
        "hear     scène.flac in real time; no mute switch; listens for alexa; keeper ada"
    )
    assert lines[1] == "wake        12.48 s  alexa  0.97"
    assert lines[-1] == (
        "total    heard 50.00 s: 46.80 s thrown away, 3.20 s sealed in 1 clip; muted 10.00 s"
    )
    assert len(set(lines)) == len(lines)


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_its_words(cause: Cause) -> None:
    assert CAUSES[cause]


def test_a_device_is_named_where_no_recording_is() -> None:
    started = msgspec.structs.replace(EVENTS[0], files=(), device="usb mic", switch="input")

    assert to_text(started) == (
        "hear     usb mic; mute switch: input; listens for alexa; keeper ada"
    )
