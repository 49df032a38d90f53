"""Waiting, with pipes for the microphone's process and for the switch."""

import os
import time
from collections.abc import Iterator, Sequence

import pytest

from listener.hear.microphone.waiting import Poller, WaitResult

LONG_S = 20.0


class Pipes:
    """A process that can speak, and a line that can be touched and can hang up."""

    def __init__(self) -> None:
        self.process, self._mouth = os.pipe()
        self.line, self._finger = os.pipe()
        self.waiting = Poller(lambda: [self.line], time.monotonic)

    def speak(self) -> None:
        os.write(self._mouth, b"x")

    def touch(self) -> None:
        os.write(self._finger, b"x")

    def hang_up(self) -> None:
        os.close(self._finger)
        self._finger = -1

    def wait(self, longest_s: float = LONG_S) -> WaitResult:
        return self.waiting.wait(longest_s, self.process)

    def close(self) -> None:
        for descriptor in (self.process, self._mouth, self.line, self._finger):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    made.close()


def test_what_the_process_says_ends_the_wait(pipes: Pipes) -> None:
    pipes.speak()

    assert pipes.wait() is WaitResult.READABLE


def test_an_edge_ends_the_wait_and_comes_before_what_the_process_says(pipes: Pipes) -> None:
    pipes.touch()
    assert pipes.wait() is WaitResult.EDGE

    pipes.speak()
    assert pipes.wait() is WaitResult.EDGE


def test_an_edge_ends_the_wait_where_there_is_no_process(pipes: Pipes) -> None:
    pipes.touch()

    assert pipes.waiting.wait(LONG_S, None) is WaitResult.EDGE


@pytest.mark.parametrize("longest_s", [-1.0, 0.0, 0.01])
def test_where_nothing_comes_the_wait_is_in_vain(pipes: Pipes, longest_s: float) -> None:
    assert pipes.wait(longest_s) is WaitResult.IN_VAIN


def test_a_line_that_is_gone_is_an_edge_once_and_then_the_wait_goes_on(pipes: Pipes) -> None:
    pipes.hang_up()

    assert pipes.wait() is WaitResult.EDGE
    assert pipes.wait(0.01) is WaitResult.IN_VAIN
    pipes.speak()
    assert pipes.wait() is WaitResult.READABLE


def test_lines_that_cannot_be_named_leave_the_process_to_be_heard(pipes: Pipes) -> None:
    def fail() -> Sequence[int]:
        raise OSError("gone")

    pipes.speak()

    assert Poller(fail, time.monotonic).wait(LONG_S, pipes.process) is WaitResult.READABLE


def test_time_is_summed_up_until_it_begins_anew(pipes: Pipes) -> None:
    now_s = iter(range(100))
    waiting = Poller(tuple, lambda: float(next(now_s)))

    # Of three looks at the clock in each wait the last is two seconds after the first.
    for _ in range(3):
        assert waiting.wait(0.0, pipes.process) is WaitResult.IN_VAIN
    assert waiting.waited_s == 6.0

    waiting.begin()
    assert waiting.waited_s == 0.0
