"""Progress of a run."""

import errno
import io

import pytest

from listener.evaluate.progress import ItemProgress, ProgressLine


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_progress_to_a_file_is_a_line_at_intervals() -> None:
    clock, errors = Clock(), io.StringIO()

    with ProgressLine(100, errors, clock=clock) as remaining:
        for _ in range(10):
            clock.now_s += 10
            remaining.advance(5)

    assert errors.getvalue().splitlines() == [
        "earmark:  15% done, 2:50 left",
        "earmark:  30% done, 2:20 left",
        "earmark:  45% done, 1:50 left",
    ]


def test_progress_on_a_terminal_is_erased_at_the_end() -> None:
    clock, errors = Clock(), Screen()

    with ProgressLine(100_000, errors, clock=clock) as remaining:
        for _ in range(3):
            clock.now_s += 50
            remaining.advance(500)

    lines = errors.getvalue().split("\r")
    assert [line.rstrip() for line in lines[1:4]] == [
        "earmark:   0% done",
        "earmark:   1% done",
        "earmark:   2% done",
    ]
    assert errors.getvalue().endswith(" \r")


def test_progress_of_zero_items_is_not_an_error() -> None:
    clock, errors = Clock(), io.StringIO()

    with ProgressLine(0, errors, clock=clock) as remaining:
        clock.now_s += 60
        remaining.advance(0)
        remaining.advance(3)

    assert errors.getvalue() == "earmark: 100% done, 0:00 left\n"


def test_progress_counts_parts_of_a_file() -> None:
    clock, errors = Clock(), Screen()

    with ProgressLine(2, errors, io.StringIO(), clock) as remaining:
        clock.now_s += 10
        remaining.set_position(0, 0.5)
        clock.now_s += 10
        remaining.set_position(1)

    told = [line.rstrip() for line in errors.getvalue().split("\r")]
    assert told == ["", "earmark:  25% done, 0:30 left", "earmark:  50% done, 0:20 left", "", ""]


@pytest.mark.parametrize(
    ("results", "errors"),
    [(Screen(), Screen()), (io.StringIO(), io.StringIO()), (Screen(), io.StringIO())],
    ids=["one terminal for both", "no terminal", "errors into a file"],
)
def test_progress_is_not_mixed_with_results(results: io.StringIO, errors: io.StringIO) -> None:
    clock = Clock()

    with ProgressLine(1, errors, results, clock) as remaining:
        clock.now_s += 60
        remaining.set_position(1)

    assert results.getvalue() == errors.getvalue() == ""


def shown(screen: io.StringIO) -> list[str]:
    return [line.rstrip() for line in screen.getvalue().replace("\r", "\n").split("\n") if line]


def test_items_and_engine_are_shown_without_an_early_estimate() -> None:
    clock, errors = Clock(), Screen()

    with ItemProgress(100, 1000, errors, clock) as progress:
        progress.begin("earmark: alexa (1 of 2)")
        clock.now_s += 600  # the start of the workers and of the networks
        for _ in range(50):
            clock.now_s += 2
            progress.advance(10)
        progress.begin("openwakeword: alexa (2 of 2)")

    lines = shown(errors)
    bar = "[" + "." * 20 + "]"
    assert lines[0] == f"earmark: {bar} 0 of 100 items, earmark: alexa (1 of 2)"
    assert lines[4] == f"earmark: {bar} 4 of 100 items, earmark: alexa (1 of 2)"
    early = [line for line in lines[:5] if "left" in line]
    assert early == []
    assert lines[50] == (
        "earmark: [##########..........] 50 of 100 items, about 2 min left, earmark: al"
    )
    assert lines[51] == f"earmark: {bar} 0 of 100 items, openwakeword: alexa (2 of 2)"


def test_first_estimate_is_near_the_time_that_is_left() -> None:
    clock, errors = Clock(), io.StringIO()

    with ItemProgress(1000, 1000, errors, clock) as progress:
        progress.begin("earmark: alexa")
        clock.now_s += 120
        for _ in range(1000):
            clock.now_s += 3
            progress.advance(1)

    estimates = [line for line in shown(errors) if "left" in line]
    assert estimates[0].startswith("earmark: [#...................] 5")
    assert estimates[0].endswith("about 47 min left, earmark: alexa")
    assert estimates[-1].endswith(" s left, earmark: alexa")
    assert all(len(line) <= 90 for line in shown(errors))


def test_items_without_a_size_are_counted() -> None:
    clock, errors = Clock(), Screen()

    with ItemProgress(2, 0, errors, clock) as progress:
        progress.begin("earmark: alexa")
        for _ in range(2):
            clock.now_s += 5
            progress.advance(0)

    assert any("2 of 2 items" in line for line in shown(errors))


class FullDisk(Screen):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_output_on_a_full_disk_does_not_end_the_run() -> None:
    clock, finished = Clock(), 0

    with ItemProgress(2, 2, FullDisk(), clock) as items, ProgressLine(2, FullDisk(), clock=clock):
        items.begin("earmark")
        for _ in range(2):
            clock.now_s += 60
            items.advance(1)
            finished += 1

    assert finished == 2
