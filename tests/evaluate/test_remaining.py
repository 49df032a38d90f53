"""How much of a run is left."""

import io

from listener.evaluate.remaining import Remaining


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_file_gets_a_line_now_and_then() -> None:
    clock, errors = Clock(), io.StringIO()

    with Remaining(100, errors, clock) as remaining:
        for _ in range(10):
            clock.now_s += 10
            remaining.done(5)

    assert errors.getvalue().splitlines() == [
        "earmark:  15% done, 2:50 left",
        "earmark:  30% done, 2:20 left",
        "earmark:  45% done, 1:50 left",
    ]


def test_a_terminal_gets_one_line_that_is_gone_at_the_end() -> None:
    clock, errors = Clock(), Screen()

    with Remaining(100_000, errors, clock) as remaining:
        for _ in range(3):
            clock.now_s += 50
            remaining.done(500)

    lines = errors.getvalue().split("\r")
    assert lines[1].rstrip() == "earmark:   0% done, 2:45:50 left"
    assert errors.getvalue().endswith(" \r")


def test_nothing_to_do_is_no_error() -> None:
    clock, errors = Clock(), io.StringIO()

    with Remaining(0, errors, clock) as remaining:
        clock.now_s += 60
        remaining.done(0)
        remaining.done(3)

    assert errors.getvalue() == "earmark: 100% done, 0:00 left\n"
