"""The archive's clock: reads the computer's clocks, stores the accepted time, reports differences.

``elapsed_time`` decides what time has passed. The state is stored in the index, in the transaction
that changes the clips' times with it: every ten minutes and at each decision. A power cut costs ten
minutes of running time at most, which then count as off time. A missing or damaged state makes no
clip older (see ``elapsed_time.begin``).
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from listener.archive import elapsed_time
from listener.archive.elapsed_time import ArchiveTime, Change, Reading, Shift, TimeState
from listener.errors import Unavailable
from listener.spool.ledger import BootClock, KernelClock

SWEEP_PAUSE_S: Final = 3600.0
"""Running time between two expiry sweeps, over restarts."""
SAVE_PAUSE_S: Final = 600.0
"""Running time between two writes of an unchanged state."""
UPDATE_PAUSE_S: Final = 10.0

_log = logging.getLogger(__name__)


class TimeStore(Protocol):
    """Storage of the clock's state, beside the clips whose times it changes."""

    def load_time(self) -> bytes | None:
        """Return the stored state; None if it is missing or was not written by this archive."""

    def save_time(
        self, state: bytes, start: int, *, shifts: Sequence[Shift] = (), relabel_s: int = 0
    ) -> None:
        """Store a state durably and change the clips' times, all or nothing.

        Args:
            state: the state.
            start: number of this start of the computer; clips that arrive later belong to it.
            shifts: changes of the clips' times by the start in which they arrived.
            relabel_s: seconds to add to the times of all clips.
        """

    def newest_arrival(self) -> int | None:
        """Return the latest arrival of a stored clip, seconds since 1970; None without clips."""

    def newest_start(self) -> int:
        """Return the largest number of a start of the computer that a clip belongs to."""

    def take_confirmation(self) -> bytes | None:
        """Return and remove a person's confirmation of the clock."""


class WitnessReport(msgspec.Struct, frozen=True, kw_only=True):
    """A speaker's signed time, as shown to a person."""

    device: str
    ahead_s: int
    """Signed time minus wall clock at its arrival."""
    heard_s: int
    """Running time since its arrival."""


class ClockReport(msgspec.Struct, frozen=True, kw_only=True):
    """The clock's state, as shown to a person."""

    wall_s: int
    """Wall clock, in seconds since 1970."""
    accepted_s: int
    """Accepted time, in seconds since 1970."""
    lived_s: int
    """Running time over all starts of the computer."""
    settled: bool
    """Whether the time before this start of the computer is decided."""
    jumps: int
    """Number of jumps of the wall clock."""
    unproven_s: int
    """Wall clock minus accepted time; 0 if they agree."""
    suspended_from_s: int | None
    """Accepted time since which they differ."""
    witnesses: tuple[WitnessReport, ...]


@dataclass(frozen=True, slots=True)
class ClockStatus:
    """The part of the report that the archive publishes."""

    jumps: int
    unproven_s: int
    """Rounded to hours."""
    suspended_from_s: int | None


class ArchiveClock:
    """Clock of one archive. Safe for several threads.

    Args:
        store: where its state is kept.
        wall_s: wall clock, in seconds since 1970.
        boot_clock: uptime of the computer.

    Raises:
        Unavailable: from the constructor and ``update``, if the store cannot be read.
    """

    def __init__(
        self,
        store: TimeStore,
        wall_s: Callable[[], float] = time.time,
        boot_clock: BootClock | None = None,
    ) -> None:
        self._store = store
        self._wall_s = wall_s
        self._boot_clock = boot_clock or KernelClock()
        self._boot = self._boot_clock.boot()
        self._lock = threading.Lock()
        self._saved_lived_s = float("-inf")
        self._is_unsaved = False
        self._stored_start: int | None = None
        self._state = self._load()
        self._updated_s = float("-inf")
        self.update()

    def now(self) -> ArchiveTime:
        """Return the present moment by each measure."""
        with self._lock:
            reading, state = self._read(), self._state
            lived_s = state.lived_s + max(0.0, reading.running_s - state.reading.running_s)
            return ArchiveTime(
                accepted_s=state.offset_s + lived_s,
                lived_s=lived_s,
                wall_s=reading.wall_s,
                start=state.start,
                is_settled=state.settled,
            )

    def accepted_s(self) -> float:
        """Return the accepted time, in seconds since 1970."""
        return self.now().accepted_s

    def check_start(self) -> None:
        """Check that this start of the computer is recorded.

        A clip that is stored before would belong to the start before it, and would be aged by the
        time in which the computer was off.

        Raises:
            Unavailable: it is not recorded yet, as on a full disk.
        """
        with self._lock:
            if self._stored_start != self._state.start:
                raise Unavailable("the start of this computer is not recorded yet")

    def testify(self, device: str, signed_s: float, waited_s: float) -> None:
        """Add the signed time of a speaker's clip that was stored now.

        Args:
            device: the speaker.
            signed_s: seconds since 1970.
            waited_s: running time of the speaker since then.
        """
        with self._lock:
            self._state = elapsed_time.testify(self._advanced(), device, signed_s, waited_s)

    def update(self) -> None:
        """Read the clocks, decide on unproven time, and store the state when due."""
        with self._lock:
            running_s = self._boot_clock.running_s()
            if 0 <= running_s - self._updated_s < UPDATE_PAUSE_S:
                return
            self._updated_s = running_s
            jumps = self._state.jumps
            self._state = self._advanced()
            if self._state.jumps != jumps:
                self._log_jump()
            if not self._state.is_agreed and self._store.newest_arrival() is None:
                self._restart()
            # On a full disk it cannot be removed: it waits.
            with contextlib.suppress(Unavailable):
                if (data := self._store.take_confirmation()) is not None:
                    self._confirm(data)
            self._apply(elapsed_time.decide(self._state))

    def is_sweep_due(self) -> bool:
        """Return whether the pause since the last expiry sweep has passed."""
        with self._lock:
            return self._state.lived_s - self._state.swept_s >= SWEEP_PAUSE_S

    def begin_sweep(self) -> None:
        """Record that an expiry sweep begins; the next one is due after a pause."""
        with self._lock:
            self._state = msgspec.structs.replace(self._state, swept_s=self._state.lived_s)

    def report(self) -> ClockReport:
        """Return the state for a person."""
        with self._lock:
            return make_report(self._advanced())

    def status(self) -> ClockStatus:
        """Return the state to publish."""
        with self._lock:
            state = self._state
        away_s = 0 if state.is_agreed else round(state.difference_s / 3600) * 3600
        since_s = None if state.suspended_from_s is None else int(state.suspended_from_s)
        return ClockStatus(state.jumps, away_s, since_s)

    def _read(self) -> Reading:
        return Reading(
            boot=self._boot[:64],
            running_s=self._boot_clock.running_s(),
            wall_s=self._wall_s(),
        )

    def _advanced(self) -> TimeState:
        return elapsed_time.advance(self._state, self._read())

    def _load(self) -> TimeState:
        reading = self._read()
        data = self._store.load_time()
        state = None if data is None else parse_state(data)
        if state is None:
            newest_s = self._store.newest_arrival()
            if newest_s is not None:
                _log.warning(
                    "the record of elapsed time is missing; clips count from the newest arrival"
                )
            state = elapsed_time.begin(reading, newest_s, self._store.newest_start() + 1)
        else:
            newest_s = self._store.newest_arrival()
            if newest_s is not None and reading.boot != state.reading.boot:
                # A clip that arrived after the last write shows that the computer ran until then.
                unsaved_s = min(newest_s - state.accepted_s, 2 * SAVE_PAUSE_S)
                lived_s = state.lived_s + max(0.0, unsaved_s)
                state = msgspec.structs.replace(state, lived_s=lived_s)
            self._stored_start = state.start
            state = elapsed_time.advance(state, reading)
        if not state.is_agreed:
            _log.warning(
                "the clock differs from the accepted time by %.0f s; clips that are overdue only"
                " by this difference are kept until speakers agree: earmark archive clock",
                state.difference_s,
            )
        # Before the first clip: it belongs to this start of the computer.
        self._save(Change(state))
        return state

    def _restart(self) -> None:
        """Begin at the wall clock: without clips there is no age to protect."""
        state = self._state
        fresh = elapsed_time.begin(state.reading, None, state.start)
        self._state = msgspec.structs.replace(
            fresh,
            lived_s=state.lived_s,
            offset_s=state.reading.wall_s - state.lived_s,
            reference_s=state.reading.wall_s - state.lived_s,
            steady_from_s=state.steady_from_s,
            jumps=state.jumps,
            swept_s=state.swept_s,
        )

    def _confirm(self, data: bytes) -> None:
        try:
            confirmed = msgspec.json.decode(data, type=Reading)
        except (ValueError, RecursionError):
            return
        now = self._state.reading
        drift_s = (now.wall_s - now.running_s) - (confirmed.wall_s - confirmed.running_s)
        if confirmed.boot != now.boot or abs(drift_s) > elapsed_time.JUMP_S:
            _log.warning("ignored a confirmation of the clock: the clock has jumped since")
            return
        _log.warning("the clock was confirmed; accepted %d s", self._state.difference_s)
        self._apply(elapsed_time.confirm(self._state))

    def _apply(self, change: Change) -> None:
        before, after = self._state, change.state
        is_changed = (
            change.credited_s
            or change.relabel_s
            or (before.settled, before.jumps) != (after.settled, after.jumps)
        )
        is_due = is_changed or after.lived_s - self._saved_lived_s >= SAVE_PAUSE_S
        if is_due and not self._save(change):
            return
        self._state = after
        if change.credited_s > elapsed_time.AGREEMENT_S:
            _log.info("accepted %d s in which this computer was off", change.credited_s)

    def _save(self, change: Change) -> bool:
        """Store a change; return False if the store cannot be written, as on a full disk.

        Expiry goes on by running time, so that it makes room. The next update tries again.
        """
        state = change.state
        try:
            self._store.save_time(
                msgspec.json.encode(state),
                state.start,
                shifts=change.shifts,
                relabel_s=change.relabel_s,
            )
        except Unavailable as error:
            if not self._is_unsaved:
                _log.warning("cannot store the elapsed time: %s", error)
            self._is_unsaved = True
            self._saved_lived_s = float("-inf")
            return False
        self._is_unsaved = False
        self._stored_start = state.start
        self._saved_lived_s = state.lived_s
        return True

    def _log_jump(self) -> None:
        _log.warning(
            "the clock jumped; it differs from the accepted time by %.0f s;"
            " clips that are overdue only by this difference are kept: earmark archive clock",
            self._state.difference_s,
        )
        self._saved_lived_s = float("-inf")


def parse_state(data: bytes) -> TimeState | None:
    """Return a stored state, or None for bytes that are not one."""
    try:
        return msgspec.json.decode(data, type=TimeState)
    except (ValueError, RecursionError):
        return None


def read_report(
    store: TimeStore, wall_s: Callable[[], float] = time.time, boot_clock: BootClock | None = None
) -> ClockReport | None:
    """Return the report of the stored state at this moment, for another process; change nothing.

    Raises:
        Unavailable: the store cannot be used.
    """
    data = store.load_time()
    state = None if data is None else parse_state(data)
    if state is None:
        return None
    return make_report(elapsed_time.advance(state, read_clocks(wall_s, boot_clock)))


def read_clocks(
    wall_s: Callable[[], float] = time.time, boot_clock: BootClock | None = None
) -> Reading:
    """Return a reading of this computer's clocks."""
    clock = boot_clock or KernelClock()
    return Reading(boot=clock.boot()[:64], running_s=clock.running_s(), wall_s=wall_s())


def make_report(state: TimeState) -> ClockReport:
    """Return the report of a state."""
    wall_offset_s = state.reading.wall_s - state.lived_s
    return ClockReport(
        wall_s=int(state.reading.wall_s),
        accepted_s=int(state.accepted_s),
        lived_s=int(state.lived_s),
        settled=state.settled,
        jumps=state.jumps,
        unproven_s=0 if state.is_agreed else int(state.difference_s),
        suspended_from_s=None if state.suspended_from_s is None else int(state.suspended_from_s),
        witnesses=tuple(
            WitnessReport(
                device=witness.device,
                ahead_s=round(witness.offset_s - wall_offset_s),
                heard_s=int(state.lived_s - witness.heard_s),
            )
            for witness in state.witnesses
        ),
    )
