"""The bound on log lines an hour."""

import logging

import pytest

from listener.system.log_limit import MOST_IN_ALL, MOST_PER_KIND, LogLimit


class Log:
    """A logger with the limit, a clock, and the lines that were written."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.lines: list[str] = []
        self.logger = logging.getLogger(f"test.{id(self)}")
        self.logger.propagate = False
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign] # a handler for this test
        handler.addFilter(LogLimit(lambda: self.now_s))
        self.logger.addHandler(handler)


@pytest.fixture
def log() -> Log:
    return Log()


def test_repeated_line_is_written_a_bounded_number_of_times_an_hour(log: Log) -> None:
    for number in range(10_000):
        log.logger.warning("refused %d", number)

    assert len(log.lines) == MOST_PER_KIND
    assert log.lines[0] == "refused 0"
    assert log.lines[-1].endswith("(more lines like this are counted and omitted for an hour)")


def test_next_hour_begins_with_the_number_of_omitted_lines(log: Log) -> None:
    for _ in range(MOST_PER_KIND + 7):
        log.logger.warning("refused")
    log.now_s = 3600.0

    log.logger.warning("refused")

    assert log.lines[-1] == "refused (7 lines like this were omitted in the last hour)"


def test_other_lines_are_written_during_a_flood(log: Log) -> None:
    for _ in range(1000):
        log.logger.warning("refused")

    log.logger.error("the disk is full")

    assert log.lines[-1] == "the disk is full"


def test_all_lines_together_are_bounded(log: Log) -> None:
    for number in range(5000):
        log.logger.warning(f"a library repeats what a peer sent: {number}")  # noqa: G004 - libraries format their messages like this

    assert len(log.lines) == MOST_IN_ALL


def test_text_with_percent_signs_is_written_as_it_is(log: Log) -> None:
    for _ in range(MOST_PER_KIND):
        log.logger.warning("100 %s", "%d %s")

    assert log.lines[-1].startswith("100 %d %s (")
