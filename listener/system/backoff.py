"""How long to wait before the next try: twice as long each time, up to a limit."""

import random


class Backoff:
    """The waits of one thing that is tried again. One thread.

    Args:
        first_s: the first wait, and the first after a success.
        longest_s: no wait is longer.
        spread: by how much of itself a wait may be shorter, 0 to 1, as chance has it: many that
            lost the same thing at the same moment do not all come back at the same moment.
    """

    def __init__(self, first_s: float, longest_s: float, *, spread: float = 0.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._spread = spread
        self._chance = random.SystemRandom()
        self._wait_s = first_s

    def next_delay_s(self) -> float:
        """Return how many seconds to wait now; the next wait is twice as long."""
        wait_s = self._wait_s
        self._wait_s = min(2 * wait_s, self._longest_s)
        return wait_s * (1 - self._spread * self._chance.random())

    def reset(self) -> None:
        """Begin again with the first wait."""
        self._wait_s = self._first_s
