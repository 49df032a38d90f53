"""Output with a limited wait: nothing that a reader does stops the writer."""

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import pytest

from listener.system.output import BoundedOutput, bound_logging

LINE = "x" * 1000 + "\n"


@contextmanager
def pipe() -> Iterator[tuple[int, TextIO]]:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as stream:
        try:
            yield read_end, stream
        finally:
            os.close(read_end)


def test_lines_reach_a_reader_whole_and_in_order() -> None:
    with pipe() as (read_end, stream):
        output = BoundedOutput(stream)
        for number in range(20):
            output.write(f"{number}\n")
        output.flush()

        assert os.read(read_end, 4096).decode().split() == [str(n) for n in range(20)]
        assert output.dropped == 0


def test_reader_that_stops_costs_lines_and_not_the_writer() -> None:
    with pipe() as (read_end, stream):
        output = BoundedOutput(stream, patience_s=0.01)
        for _ in range(500):  # far more than a pipe holds
            output.write(LINE)

        dropped = output.dropped
        assert dropped > 300
        assert os.read(read_end, 1 << 16).endswith(b"\n")
        output.write(LINE)
        assert output.dropped == dropped, "it is written to again once it reads again"


def test_only_the_first_line_waits_for_a_reader_that_stopped() -> None:
    waits: list[float] = []

    class Counting(BoundedOutput):
        def _is_writable(self, number: int) -> bool:
            waits.append(0.0 if self._is_stalled else self._patience_s)
            return super()._is_writable(number)

    with pipe() as (_, stream):
        output = Counting(stream, patience_s=0.01)
        while not output.dropped:
            output.write(LINE)
        before = len(waits)
        for _ in range(10):
            output.write(LINE)

    assert waits[before:] == [0.0] * 10


def test_reader_that_closed_is_reported() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as stream, pytest.raises(BrokenPipeError):
        BoundedOutput(stream).write(LINE)


def test_stream_without_a_descriptor_is_written_to() -> None:
    stream = io.StringIO()

    BoundedOutput(stream).write("a\n")

    assert stream.getvalue() == "a\n"


def test_log_lines_do_not_wait_either() -> None:
    logger = logging.getLogger("test of output")
    with pipe() as (_, stream):
        logger.propagate = False
        logger.addHandler(logging.StreamHandler(stream))
        bound_logging(logger)

        for _ in range(200):
            logger.warning(LINE)
        logger.handlers.clear()
