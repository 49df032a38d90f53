import sys
from pathlib import Path

import pytest

from listener.demo.player import Event, play_scene
from listener.errors import EarmarkError, Unavailable


def hear(
    code: str, log: Path, longest_s: float = 60.0
) -> tuple[list[Event], list[Event], list[float]]:
    shown: list[Event] = []
    moments: list[float] = []
    events = play_scene(
        [sys.executable, "-S", "-E", "-c", code],
        longest_s,
        log,
        on_event=shown.append,
        on_moment=moments.append,
    )
    return events, shown, moments


def test_events_are_passed_on_as_they_arrive(tmp_path: Path) -> None:
    code = (
        'print(\'{"event":"started"}\', flush=True)\nimport time\ntime.sleep(0.3)\n'
        'print(\'{"event":"ended"}\')'
    )

    events, shown, moments = hear(code, tmp_path / "log")

    assert events == shown == [{"event": "started"}, {"event": "ended"}]
    assert moments == sorted(moments)
    assert moments


def test_error_of_a_failing_hear_is_quoted(tmp_path: Path) -> None:
    code = "import sys; print('earmark: error: no ear', file=sys.stderr); sys.exit(69)"

    with pytest.raises(EarmarkError, match="ended with exit code 69: earmark: error: no ear"):
        hear(code, tmp_path / "log")


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", "3"])
def test_invalid_event_is_an_error(line: str, tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="invalid event"):
        hear(f"print({line!r})", tmp_path / "log")


def test_hear_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="did not end within"):
        hear("import time; time.sleep(60)", tmp_path / "log", longest_s=0.2)


def test_hear_that_hangs_after_its_last_event_is_ended(tmp_path: Path) -> None:
    code = "import os, time; os.close(1); time.sleep(60)"

    with pytest.raises(Unavailable, match="did not end after"):
        hear(code, tmp_path / "log", longest_s=0.2)
