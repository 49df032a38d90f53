import io
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from listener.ipc import notices
from listener.ipc.notices import LevelNotice, WordScore
from listener.monitor.state import HearState
from listener.monitor.terminal import Bar, render

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def draw(what: RenderableType, width: int = 100, encoding: str = "utf-8") -> str:
    """Return the output on a terminal without colours."""
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(file=out, width=width, color_system=None, legacy_windows=False)
    console.print(what)
    out.seek(0)
    return out.read()


def picture(score: float = 0.25, level_dbfs: int | None = -40, **level: object) -> HearState:
    made = HearState()
    fields: dict[str, Any] = {
        "level_dbfs": level_dbfs,
        "floor_dbfs": None if level_dbfs is None else -60,
        "words": (WordScore(name="alexa", score=score, threshold=0.5),),
        "mute": "open",
        "lamp": "idle",
        "cpu_s": 0.3,
        "up_s": 10.0,
    }
    made.update(LevelNotice(**(fields | level)), 10)
    return made


def test_panel_shows_every_part_of_the_state() -> None:
    made = picture()
    tally = notices.Tally(
        device="hall", boot="0" * 16, seq=0, heard_samples=160_000, wakes=2, near_misses=1, sealed=1
    )
    made.update(notices.sign_tally(tally, lambda _: bytes(64)), 10)
    made.update(notices.WakeNotice(word="alexa", score=0.94), 10)

    text = draw(render(made, 10.5, NOW, "/home"))

    for part in (
        "hall: running since 2026-03-04 05:05:57, 10.0 s",
        "level -40 dB, floor -60 dB",
        "0.25, wakes at 0.50",
        "open; lamp idle; cpu 3.0 %",
        "heard 10.0 s",
        "wakes 2, near misses 1, clips sealed 1",
        "last wake: alexa 0.94, 0.5 s ago",
    ):
        assert part in text


def test_bar_shows_score_and_threshold() -> None:
    text = draw(Bar(0.25, 0.5, "green"), width=20)

    assert text == "█████·····│·········\n"


def test_terminal_without_unicode_gets_ascii() -> None:
    text = draw(render(picture(), 10, NOW, "/home"), encoding="ascii")

    assert text.isascii()
    assert re.search(r"alexa #+-+\|-+ 0\.25", text)


@given(st.floats(-1, 2), st.none() | st.floats(-1, 2), st.integers(1, 80))
def test_bar_fills_the_width(value: float, mark: float | None, width: int) -> None:
    line = draw(Bar(value, mark, "green"), width).rstrip("\n")

    assert len(line) == width
    assert line.count("│") == (mark is not None)


@pytest.mark.parametrize("width", [30, 60, 200])
def test_panel_fits_any_terminal(width: int) -> None:
    text = draw(render(picture(), 10, NOW, "/home"), width)

    assert max(map(len, text.splitlines())) <= width


def test_panel_shows_mute_and_lost_microphone() -> None:
    made = picture(level_dbfs=None, mute="hardware", lamp="muted")
    made.update(notices.MicrophoneNotice(state="lost", cause="stalled", losses=1), 10)

    text = draw(render(made, 10, NOW, "/home"))

    assert "no audio" in text
    assert "muted (hardware); lamp muted; microphone lost (stalled)" in text


def test_near_miss_is_named() -> None:
    made = picture()
    made.update(notices.NearMissNotice(word="alexa", score=0.3), 0)

    assert "last near miss: alexa 0.30, 10.0 s ago" in draw(render(made, 10, NOW, "/home"))


def test_waiting_panel_names_the_home() -> None:
    assert "hear is not running at /some/home; waiting" in draw(
        render(HearState(), 0, NOW, "/some/home")
    )
