import json
from typing import Any

import pytest

from listener.ipc import notices
from listener.ipc.notices import LevelNotice, WordScore
from listener.monitor import text as lines
from listener.monitor.state import HearState


def picture(**level: object) -> HearState:
    """What is known of a hear that has just spoken, at second 10."""
    made = HearState()
    given: dict[str, Any] = {
        "level_dbfs": -43,
        "floor_dbfs": -61,
        "words": (WordScore(name="alexa", score=0.125, threshold=0.5),),
        "mute": "open",
        "lamp": "idle",
        "cpu_s": 0.3,
        "up_s": 10.0,
    }
    made.update(LevelNotice(**(given | level)), 10)
    return made


def counted(made: HearState, **counts: int) -> HearState:
    tally = notices.Tally(device="hall", boot="0" * 16, seq=0, **counts)  # type: ignore[arg-type] # no count is called v
    made.update(notices.sign_tally(tally, lambda _: bytes(64)), 10)
    return made


def test_a_line_for_people_says_everything() -> None:
    made = counted(picture(), heard_samples=160_000, held_samples=32_000, wakes=2, sealed=1)

    assert lines.to_text(made, 10) == (
        "level -43 dB, floor -61 dB; alexa 0.12/0.50; open; lamp idle; cpu 3.0 %;"
        " heard 10.0 s, thrown away 0.0 s, sealed 0.0 s, in memory 2.0 s, muted 0.0 s;"
        " wakes 2, near misses 0, clips sealed 1"
    )


def test_what_seldom_happens_is_said_when_it_does() -> None:
    made = counted(picture(mute="fault", lamp="fault"), abandoned=1, unattributed=2, lost=3)
    made.update(notices.MicrophoneNotice(state="lost", cause="zeros", losses=4), 10)

    text = lines.to_text(made, 10)

    assert "muted (fault); lamp fault; microphone lost (zeros), lost 4 times" in text
    assert text.endswith("clips sealed 0, clips abandoned 1, without an owner 2, lost 3")


def test_before_the_counters_came_nothing_is_invented() -> None:
    made = picture(level_dbfs=None, floor_dbfs=None)

    assert lines.to_text(made, 10) == "no sound; alexa 0.12/0.50; open; lamp idle; cpu 3.0 %"
    assert json.loads(lines.to_json(made, 10))["counters"] is None


def test_a_line_for_programs_is_one_object() -> None:
    made = counted(picture(), wakes=1)
    made.update(notices.WakeNotice(word="alexa", score=0.94188), 9)

    line = lines.to_json(made, 10.5)

    assert "\n" not in line
    said = json.loads(line)
    assert said["hearing"] is True
    assert said["words"] == {"alexa": {"score": 0.125, "threshold": 0.5}}
    assert said["last"] == {"event": "wake", "word": "alexa", "score": 0.942, "ago_s": 1.5}
    assert said["counters"]["wakes"] == 1
    assert said["cpu_percent"] == 3.0


def test_nobody_is_said_to_be_nobody() -> None:
    assert lines.to_text(HearState(), 0) == "nobody hears"
    assert json.loads(lines.to_json(HearState(), 0)) == {"hearing": False}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (61, "1 min 1 s"),
        (3_599, "59 min 59 s"),
        (7_500, "2 h 5 min"),
    ],
)
def test_durations_are_as_long_as_they_need_to_be(seconds: float, text: str) -> None:
    assert lines.format_duration(seconds) == text


def test_an_unknown_share_is_unknown() -> None:
    assert lines.format_percent(None) == "unknown"
