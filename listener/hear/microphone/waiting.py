"""Waiting for sound and for the switch at once, in one `poll`: an edge ends every wait."""

import contextlib
import select
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final

_ERROR_EVENTS: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL

Watch = Callable[[], Sequence[int]]


class WaitResult(Enum):
    """What ended a wait."""

    READABLE = auto()
    """There is something to read from the microphone's process, or it has ended."""
    EDGE = auto()
    """The switch wants to be asked, or has just been lost."""
    IN_VAIN = auto()
    """Time is up."""


class Poller:
    """Waits, and sums up for how long. One thread.

    Args:
        watch: returns descriptors that end every wait when they become readable: the switch's.
        monotonic_s: a clock in seconds that never goes back.
    """

    def __init__(self, watch: Watch, monotonic_s: Callable[[], float]) -> None:
        self._watch: Final = watch
        self._monotonic_s: Final = monotonic_s
        self._lost_lines: set[int] = set()
        self.waited_s = 0.0
        """In all waits since `begin`."""

    def begin(self) -> None:
        """Count the time from here on: something came, or something new is waited for."""
        self.waited_s = 0.0

    def wait(self, longest_s: float, pipe: int | None) -> WaitResult:
        """Wait for the process, for an edge, or in vain; an edge comes first.

        Args:
            longest_s: the limit; at 0 or below it is only looked.
            pipe: the descriptor that the process speaks through; None where there is none.
        """
        began_s = self._monotonic_s()
        poll = select.poll()
        if pipe is not None:
            poll.register(pipe, select.POLLIN)
        edges: set[int] = set()
        with contextlib.suppress(OSError):  # The gate asks next, and hears of it.
            edges.update(self._watch())
        for number in edges:
            poll.register(number, select.POLLIN)
        gone: set[int] = set()
        while True:
            left_s = max(0.0, longest_s - (self._monotonic_s() - began_s))
            ready = dict(poll.poll(left_s * 1_000))
            lost = {number for number in edges if ready.get(number, 0) & _ERROR_EVENTS}
            known = lost & self._lost_lines
            if not known or known != ready.keys():
                break
            # A line that is gone is always ready: to wait for it again would be to spin.
            for number in known:
                poll.unregister(number)
            edges -= known
            gone |= known
        self._lost_lines = lost | gone
        self.waited_s += self._monotonic_s() - began_s
        if any(number in ready for number in edges - known):
            return WaitResult.EDGE
        return WaitResult.READABLE if pipe in ready else WaitResult.IN_VAIN
