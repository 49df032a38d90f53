"""Clocks under the test's control, and command keys without cryptography."""

import itertools
from dataclasses import dataclass

from listener.assist.asks import ClockPair


class Clocks:
    """Both clocks of a machine, in seconds."""

    def __init__(self) -> None:
        self.boot_s = 100.0
        self.wall_s = 1_000_000.0

    def __call__(self) -> ClockPair:
        return ClockPair(self.boot_s, self.wall_s)

    def run(self, seconds: float) -> None:
        self.boot_s += seconds
        self.wall_s += seconds


@dataclass(frozen=True)
class CountedKey:
    """A command key whose names are numbers."""

    number: int

    @property
    def recipient(self) -> str:
        return f"age1{self.number}"

    @property
    def fingerprint(self) -> str:
        return f"k{self.number}"

    @property
    def secret(self) -> object:
        return None


class CountedKeys:
    """Makes keys, and knows how many it made."""

    def __init__(self) -> None:
        self.made: list[CountedKey] = []
        self._numbers = itertools.count(1)

    def __call__(self) -> CountedKey:
        self.made.append(CountedKey(next(self._numbers)))
        return self.made[-1]
