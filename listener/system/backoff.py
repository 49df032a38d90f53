"""Exponential backoff with jitter: each delay is twice the one before, up to a limit."""

import random


class Backoff:
    """Delays between the attempts of one operation. For one thread.

    Args:
        first_s: the first delay, in seconds; also the first after ``reset``.
        longest_s: upper limit of a delay, in seconds.
        spread: random part of each delay, 0 to 1, by which it may be shorter: clients that lost a
            server at the same moment do not all come back at the same moment.
    """

    def __init__(self, first_s: float, longest_s: float, *, spread: float = 0.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._spread = spread
        self._random = random.SystemRandom()
        self._wait_s = first_s

    def next_delay_s(self) -> float:
        """Return the seconds to wait now; the next delay is twice as long."""
        wait_s = self._wait_s
        self._wait_s = min(2 * wait_s, self._longest_s)
        return wait_s * (1 - self._spread * self._random.random())

    def reset(self) -> None:
        """Start again with the first delay, after a success."""
        self._wait_s = self._first_s
