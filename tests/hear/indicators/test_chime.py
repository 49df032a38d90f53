"""Tests of the chime with scripts in place of its process."""

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
    "exits": "import os\nos.read(0, 1)",
}


class Bench:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.chimes: list[ChimeProcess] = []

    def chime(self, kind: str) -> ChimeProcess:
        process = ChimeProcess([sys.executable, "-c", SCRIPTS[kind]], lambda: self.now_s)
        self.chimes.append(process)
        return process


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    for process in bench.chimes:
        process.close()


def wait_until(holds: Callable[[], bool]) -> None:
    """Poll until true; the limit only ends a failing test."""
    until_s = time.monotonic() + 40
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.005)


def test_chime_plays_until_the_process_reports_the_end(bench: Bench) -> None:
    process = bench.chime("plays")
    assert not process.is_playing

    for _ in range(3):
        process.play()
        wait_until(lambda: not process.is_playing)

    assert process.pid is not None


def test_second_request_while_playing_is_ignored(bench: Bench) -> None:
    process = bench.chime("plays")

    process.play()
    process.play()
    wait_until(lambda: not process.is_playing)

    assert not process.is_playing
    process.play()
    wait_until(lambda: not process.is_playing)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("fails", "the loudspeaker cannot be opened"), ("exits", "its process exited")],
)
def test_failed_chime_is_stopped_and_retried_later(
    bench: Bench, kind: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    process = bench.chime(kind)
    first = process.pid

    process.play()
    wait_until(lambda: not process.is_playing)

    assert process.pid is None
    assert [record.message for record in caplog.records] == [f"cannot play the chime: {reason}"]
    process.play()
    assert process.pid is None, "not at once"
    bench.now_s += chime.RETRY_S
    process.play()
    assert process.pid not in (None, first)
    assert not process.is_playing, "for the wake after this process"


def test_hanging_chime_is_killed(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    process = bench.chime("hangs")
    process.play()
    assert process.is_playing

    bench.now_s += chime.LONGEST_S

    assert not process.is_playing
    assert process.pid is None
    assert caplog.records[0].message == "cannot play the chime: it did not end within 2 s"


def test_process_that_exited_before_the_request_is_stopped(bench: Bench) -> None:
    process = bench.chime("exits")
    process.play()
    wait_until(lambda: not process.is_playing)

    process.play()

    assert not process.is_playing


def test_missing_program_is_logged_and_not_raised(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        process = ChimeProcess(["/no/such/program"], lambda: 0.0)
        process.play()

    assert not process.is_playing
    assert "cannot start the chime's process" in caplog.records[0].message
    process.close()


def test_chime_is_off_by_default() -> None:
    assert build_chime(ChimeSettings(), time.monotonic) is None


def test_configuration_is_passed_to_the_process() -> None:
    command = chime_command(ChimeSettings(on_wake=True, device="Loudspeaker", volume=0.5))

    assert "listener.hear.indicators.chime_process" in command
    assert "--device=Loudspeaker" in command
    assert "--volume=0.5" in command
