"""A computer whose clocks the test sets, and storage of the archive's clock in memory."""

from collections.abc import Callable, Sequence

from listener.archive.archive_clock import ArchiveClock
from listener.archive.elapsed_time import Shift
from listener.errors import Unavailable

_START_S = 60.0  # from the kernel's start to the archive's


class Computer:
    """A computer that runs, is switched off, and whose wall clock can be wrong.

    Args:
        true_s: true time, seconds since 1970.
    """

    def __init__(self, true_s: float) -> None:
        self.true_s = true_s
        self.error_s = 0.0
        """Wall clock minus true time."""
        self.starts = 1
        self.uptime_s = _START_S

    def boot(self) -> str:
        return f"start-{self.starts}"

    def running_s(self) -> float:
        return self.uptime_s

    def wall_s(self) -> float:
        return self.true_s + self.error_s

    def run(self, seconds: float) -> None:
        self.true_s += seconds
        self.uptime_s += seconds

    def switch_off(self, seconds: float) -> None:
        self.true_s += seconds + _START_S
        self.starts += 1
        self.uptime_s = _START_S


class MemoryTimeStore:
    """Storage of the clock's state in memory, with one clip."""

    def __init__(self, newest_s: int | None = None) -> None:
        self.newest_s = newest_s
        self.state: bytes | None = None
        self.writes = 0
        self.is_full = False
        self.shifts: list[Shift] = []
        self.relabel_s = 0
        self.confirmation: bytes | None = None

    def load_time(self) -> bytes | None:
        return self.state

    def save_time(
        self, state: bytes, start: int, *, shifts: Sequence[Shift] = (), relabel_s: int = 0
    ) -> None:
        del start
        if self.is_full:
            raise Unavailable("the disk is full")
        self.state = state
        self.writes += 1
        self.shifts += shifts
        self.relabel_s += relabel_s

    def newest_arrival(self) -> int | None:
        return self.newest_s

    def newest_start(self) -> int:
        return 1

    def take_confirmation(self) -> bytes | None:
        data, self.confirmation = self.confirmation, None
        return data


class _TwoClocks:
    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s

    def boot(self) -> str:
        return "start-1"

    def running_s(self) -> float:
        return self._monotonic_s()


def make_clock(wall_s: Callable[[], float], monotonic_s: Callable[[], float]) -> ArchiveClock:
    """Return a clock that reads these two."""
    return ArchiveClock(MemoryTimeStore(int(wall_s())), wall_s, _TwoClocks(monotonic_s))


def run(clock: ArchiveClock, computer: Computer, seconds: float) -> None:
    """Let the computer run, and its archive update the clock every 15 minutes at least."""
    while seconds > 0:
        computer.run(min(900, seconds))
        seconds -= 900
        clock.update()
