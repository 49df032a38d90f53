"""Accepting of waiting connections, with a socket that fails on purpose."""

import errno
from typing import TYPE_CHECKING, cast

from listener.system.accept import MOST_AT_ONCE, accept_waiting

if TYPE_CHECKING:
    import socket

PEER = object()


class FakeListening:
    """A listening socket that returns or raises what it is given; then nothing waits."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)

    def accept(self) -> object:
        if not self.outcomes:
            raise BlockingIOError
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return PEER, outcome


def accepted(listening: FakeListening, pauses: list[str]) -> list[str]:
    waiting = accept_waiting(cast("socket.socket", listening), lambda: pauses.append("paused"))
    return [address for _, address in waiting]


def test_waiting_connections_come_with_their_address() -> None:
    listening = FakeListening(("10.0.0.7", 1), ConnectionAbortedError(), ("fe80::1", 2, 0, 3), "")
    pauses: list[str] = []

    assert accepted(listening, pauses) == ["10.0.0.7", "fe80::1", ""]
    assert pauses == []


def test_caller_pauses_when_no_descriptor_is_left() -> None:
    listening = FakeListening(("10.0.0.7", 1), OSError(errno.EMFILE, "too many"), ("10.0.0.8", 1))
    pauses: list[str] = []

    assert accepted(listening, pauses) == ["10.0.0.7"]
    assert pauses == ["paused"]


def test_number_of_connections_in_one_turn_is_bounded() -> None:
    listening = FakeListening(*[("10.0.0.7", 1)] * (MOST_AT_ONCE + 1))

    assert len(accepted(listening, [])) == MOST_AT_ONCE
    assert len(listening.outcomes) == 1
