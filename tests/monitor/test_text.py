import json
from typing import Any

import pytest

from listener.ipc import notices
from listener.ipc.notices import LevelNotice, WordScore
from listener.monitor import text
from listener.monitor.state import HearState


def picture(**level: object) -> HearState:
    """State of a hear that sent a level at second 10."""
    made = HearState()
    fields: dict[str, Any] = {
        "level_dbfs": -43,
        "floor_dbfs": -61,
        "words": (WordScore(name="alexa", score=0.125, threshold=0.5),),
        "mute": "open",
        "lamp": "idle",
        "cpu_s": 0.3,
        "up_s": 10.0,
    }
    made.update(LevelNotice(**(fields | level)), 10)
    return made


def counted(made: HearState, **counts: int) -> HearState:
    tally = notices.Tally(device="hall", boot="0" * 16, seq=0, **counts)  # type: ignore[arg-type] # no count is called v
    made.update(notices.sign_tally(tally, lambda _: bytes(64)), 10)
    return made


def test_text_line_has_the_whole_state() -> None:
    made = counted(picture(), heard_samples=160_000, held_samples=32_000, wakes=2, sealed=1)

    assert text.to_text(made, 10) == (
        "level -43 dB, floor -61 dB; alexa 0.12/0.50; open; lamp idle; cpu 3.0 %;"
        " heard 10.0 s, discarded 0.0 s, sealed 0.0 s, in memory 2.0 s, muted 0.0 s;"
        " wakes 2, near misses 0, clips sealed 1"
    )


def test_nonzero_problem_counts_are_shown() -> None:
    made = counted(picture(mute="fault", lamp="fault"), abandoned=1, unattributed=2, lost=3)
    made.update(notices.MicrophoneNotice(state="lost", cause="zeros", losses=4), 10)

    line = text.to_text(made, 10)

    assert "muted (fault); lamp fault; microphone lost (zeros), lost 4 times" in line
    assert line.endswith("clips sealed 0, clips abandoned 1, without an owner 2, lost 3")


def test_counters_are_omitted_before_they_arrive() -> None:
    made = picture(level_dbfs=None, floor_dbfs=None)

    assert text.to_text(made, 10) == "no audio; alexa 0.12/0.50; open; lamp idle; cpu 3.0 %"
    assert json.loads(text.to_json(made, 10))["counters"] is None


def test_json_line_is_one_object() -> None:
    made = counted(picture(), wakes=1)
    made.update(notices.WakeNotice(word="alexa", score=0.94188), 9)

    line = text.to_json(made, 10.5)

    assert "\n" not in line
    decoded = json.loads(line)
    assert decoded["hearing"] is True
    assert decoded["words"] == {"alexa": {"score": 0.125, "threshold": 0.5}}
    assert decoded["last"] == {"event": "wake", "word": "alexa", "score": 0.942, "ago_s": 1.5}
    assert decoded["counters"]["wakes"] == 1
    assert decoded["cpu_percent"] == 3.0


def test_hear_that_is_not_running_is_reported() -> None:
    assert text.to_text(HearState(), 0) == "hear is not running"
    assert json.loads(text.to_json(HearState(), 0)) == {"hearing": False}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (61, "1 min 1 s"),
        (3_599, "59 min 59 s"),
        (7_500, "2 h 5 min"),
    ],
)
def test_durations_are_formatted(seconds: float, expected: str) -> None:
    assert text.format_duration(seconds) == expected


def test_unknown_percentage_is_unknown() -> None:
    assert text.format_percent(None) == "unknown"
