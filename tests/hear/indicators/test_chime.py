"""The chime's process as hear sees it: scripts stand in for it."""

import logging
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from listener.config import ChimeSettings
from listener.hear.indicators import chime
from listener.hear.indicators.chime import ChimeProcess, build_chime, chime_command

SCRIPTS = {
    "plays": "import os\nwhile os.read(0, 1): os.write(1, b'.')",
    "fails": "import os\nwhile os.read(0, 1): os.write(1, b'!')",
    "hangs": "import os\nwhile os.read(0, 1): pass",
    "dies": "import os\nos.read(0, 1)",
}


class Bench:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.made: list[ChimeProcess] = []

    def chime(self, kind: str) -> ChimeProcess:
        made = ChimeProcess([sys.executable, "-c", SCRIPTS[kind]], lambda: self.now_s)
        self.made.append(made)
        return made


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    for one in made.made:
        one.close()


def wait_until(holds: Callable[[], bool]) -> None:
    """The limit is for failures, not a measurement."""
    until_s = time.monotonic() + 40
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_it_plays_until_the_process_says_that_it_is_over(bench: Bench) -> None:
    one = bench.chime("plays")
    assert not one.is_playing

    for _ in range(3):
        one.play()
        wait_until(lambda: not one.is_playing)

    assert one.pid is not None


def test_asked_twice_it_plays_once(bench: Bench) -> None:
    one = bench.chime("plays")

    one.play()
    one.play()
    wait_until(lambda: not one.is_playing)

    assert not one.is_playing
    one.play()
    wait_until(lambda: not one.is_playing)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("fails", "the loudspeaker cannot be opened"), ("dies", "its process exited")],
)
def test_one_that_fails_is_given_up_and_tried_again_later(
    bench: Bench, kind: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = bench.chime(kind)
    first = one.pid

    one.play()
    wait_until(lambda: not one.is_playing)

    assert one.pid is None
    assert [record.message for record in caplog.records] == [f"cannot play the chime: {reason}"]
    one.play()
    assert one.pid is None, "not at once"
    bench.now_s += chime.RETRY_S
    one.play()
    assert one.pid not in (None, first)
    assert not one.is_playing, "for the wake after this one"


def test_one_that_hangs_is_ended(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    one = bench.chime("hangs")
    one.play()
    assert one.is_playing

    bench.now_s += chime.LONGEST_S

    assert not one.is_playing
    assert one.pid is None
    assert caplog.records[0].message == "cannot play the chime: it did not end within 2 s"


def test_one_that_died_before_it_was_told_is_given_up(bench: Bench) -> None:
    one = bench.chime("dies")
    one.play()
    wait_until(lambda: not one.is_playing)

    one.play()

    assert not one.is_playing


def test_a_program_that_is_missing_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        one = ChimeProcess(["/no/such/program"], lambda: 0.0)
        one.play()

    assert not one.is_playing
    assert "cannot start the chime's process" in caplog.records[0].message
    one.close()


def test_by_default_there_is_none() -> None:
    assert build_chime(ChimeSettings(), time.monotonic) is None


def test_the_settings_reach_the_process() -> None:
    words = chime_command(ChimeSettings(on_wake=True, device="Loudspeaker", volume=0.5))

    assert "listener.hear.indicators.chime_process" in words
    assert "--device=Loudspeaker" in words
    assert "--volume=0.5" in words
