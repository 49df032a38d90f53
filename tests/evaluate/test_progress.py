"""Progress of a run."""

import io

import pytest

from listener.evaluate.progress import ProgressLine


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
    assert lines[1].rstrip() == "earmark:   0% done, 2:45:50 left"
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
