"""Elapsed time of an archive by running time, wall clock and speakers' clocks. Pure.

A clip's age must not rest on one clock. The archive counts *accepted time*: it starts as the wall
clock's time and grows with the computer's running time, which no person and no server can set.
Time during which the computer was off is only in the wall clock, which a time server, a battery or
a person can set wrong. So time that the wall clock claims beyond the running time is *unproven*
until

* the speakers agree: most of those whose clips arrived since the computer started signed a time
  within ten minutes of the wall clock's, and the clock kept step for an hour; or
* without such speakers, the claim has stood for a day of running time; or
* a person confirms the clock.

Then it is credited to all clips that arrived before this start of the computer. A step of the clock
after that, while the computer runs, is not elapsed time and is never credited. Unproven time
suspends only what would expire by it: running time goes on.

``docs/explanation/time.md`` states the reasons and what remains.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

JUMP_S: Final = 60.0
"""Largest difference between wall clock and running time that is not a jump."""
AGREEMENT_S: Final = 600.0
"""Largest difference between two clocks that agree, in seconds."""
STEADY_S: Final = 3600.0
"""Running time without a jump after which the speakers' clocks are compared."""
CLAIM_S: Final = 86_400.0
"""Running time for which the wall clock's claim must stand where no speaker supports it."""
WITNESS_S: Final = 72_000.0
"""Running time for which a speaker's signed time is considered."""
LATE_SYNC_S: Final = 21_600.0
"""Running time after a start in which a step may be the first synchronisation of the clock."""
_UNPROVEN_JUMP_S: Final = 86_400.0  # more unproven time than this at a start counts as a jump
MOST_CLAIMS: Final = 288
MOST_WITNESSES: Final = 64

_Name = Annotated[str, Meta(max_length=64)]
_Seconds = Annotated[float, Meta(ge=-1e12, le=1e12)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the stored state."""


class Reading(_Part, frozen=True, kw_only=True):
    """A simultaneous reading of the computer's clocks."""

    boot: _Name
    """Id of this start of the computer."""
    running_s: _Seconds
    """Seconds since this start of the computer."""
    wall_s: _Seconds
    """Seconds since 1970."""


class Claim(_Part, frozen=True, kw_only=True):
    """A stretch of running time in which the wall clock kept step."""

    start: int
    """Number of the start of the computer."""
    length_s: _Seconds
    offset_s: _Seconds
    """Wall clock minus running time."""


class Unproven(_Part, frozen=True, kw_only=True):
    """Starts of the computer in which off time before them was not decided."""

    first: int
    last: int
    offset_s: _Seconds
    """Largest difference of wall clock and running time in them."""
    heard_s: _Seconds
    """The same of the speakers' clocks, the upper median of the latest."""

    @property
    def largest_s(self) -> float:
        """The larger of both."""
        return max(self.offset_s, self.heard_s)


class Witness(_Part, frozen=True, kw_only=True):
    """The latest time that a speaker signed since this start of the computer."""

    device: _Name
    offset_s: _Seconds
    """Signed time minus running time at its arrival."""
    arrived_s: _Seconds
    """The same with the time that the clip waited at the speaker."""
    heard_s: _Seconds
    """Running time at its arrival."""


class TimeState(_Part, frozen=True, kw_only=True):
    """State of the accepted time, as stored. Immutable; each function returns a new one."""

    v: Literal[1] = 1
    reading: Reading
    lived_s: _Seconds = 0.0
    """Running time over all starts of the computer."""
    offset_s: _Seconds
    """Accepted time minus ``lived_s``."""
    reference_s: _Seconds
    """Wall clock minus ``lived_s`` at the last jump or start; a jump is a difference from it."""
    start: int = 1
    """Number of this start of the computer."""
    steady_from_s: _Seconds = 0.0
    """``lived_s`` at the last jump, or when this start was first observed."""
    settled: bool = False
    """Whether the off time before this start is decided."""
    excess_s: _Seconds = 0.0
    """Sum of the steps of the wall clock that are not elapsed time."""
    claims: tuple[Claim, ...] = ()
    unproven: tuple[Unproven, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    jumps: int = 0
    """Number of jumps of the wall clock."""
    suspended_from_s: _Seconds | None = None
    """Accepted time since which unproven time is waiting."""
    swept_s: _Seconds = 0.0
    """``lived_s`` at the last expiry sweep."""

    @property
    def accepted_s(self) -> float:
        """Accepted time at the last reading, in seconds since 1970."""
        return self.offset_s + self.lived_s

    @property
    def difference_s(self) -> float:
        """Wall clock minus accepted time, in seconds."""
        return self.reading.wall_s - self.accepted_s

    @property
    def is_agreed(self) -> bool:
        """Whether wall clock and accepted time agree."""
        return abs(self.difference_s) <= AGREEMENT_S


@dataclass(frozen=True, slots=True)
class Shift:
    """Seconds to add to the times of the clips of some starts of the computer."""

    first: int
    last: int
    by_s: int


@dataclass(frozen=True, slots=True)
class Change:
    """Result of a decision: the new state, and how stored times change with it."""

    state: TimeState
    credited_s: int = 0
    """Seconds by which the accepted time was set forward."""
    shifts: tuple[Shift, ...] = ()
    """Clips that arrived after the credited time, or after a part of it: it does not age them."""
    relabel_s: int = 0
    """Seconds to add to the times of all clips; their ages stay the same."""


def begin(reading: Reading, newest_s: float | None, start: int = 1) -> TimeState:
    """Return the first state, or the one after the stored state was lost.

    The accepted time begins at the earlier of wall clock and newest arrival, so that no clip ages
    by the loss; the difference is unproven time.

    Args:
        reading: the clocks.
        newest_s: latest arrival of a stored clip, seconds since 1970; None without clips.
        start: number of this start of the computer, larger than that of any stored clip.
    """
    accepted_s = reading.wall_s if newest_s is None else min(reading.wall_s, newest_s)
    # Off time before the last start may have been undecided: it does not age the clips after it.
    last = Unproven(first=start - 1, last=start - 1, offset_s=reading.wall_s, heard_s=0.0)
    state = TimeState(
        reading=reading,
        offset_s=accepted_s,
        reference_s=reading.wall_s,
        start=start,
        unproven=(last,) if start > 1 else (),
    )
    return _suspend(_count_unproven(state))


def advance(state: TimeState, reading: Reading) -> TimeState:
    """Return the state after a new reading of the clocks; decide nothing."""
    before = state.reading
    if reading.boot == before.boot and reading.running_s >= before.running_s:
        passed_s = reading.running_s - before.running_s
        state = msgspec.structs.replace(state, reading=reading, lived_s=state.lived_s + passed_s)
        return _suspend(_note_unproven(_follow(state, passed_s)))
    lived_s = state.lived_s + reading.running_s
    state = msgspec.structs.replace(
        state,
        reading=reading,
        lived_s=lived_s,
        reference_s=reading.wall_s - lived_s,
        steady_from_s=lived_s,
        start=state.start + 1,
        settled=False,
        witnesses=(),
    )
    state = _count_unproven(_keep_excess(state))
    return _suspend(_note_unproven(_claim(state, reading.running_s)))


def testify(state: TimeState, device: str, signed_s: float, waited_s: float) -> TimeState:
    """Add a speaker's signed time that has just arrived; only its latest claim counts.

    Args:
        state: at the time of arrival.
        device: the speaker.
        signed_s: time in a verified envelope, seconds since 1970.
        waited_s: running time of the speaker since then. It is not signed, so it never supports
            the wall clock; it only keeps a clip from being aged by time before it.
    """
    offset_s = signed_s - state.lived_s
    new = Witness(
        device=device,
        offset_s=offset_s,
        arrived_s=offset_s + max(0.0, waited_s),
        heard_s=state.lived_s,
    )
    kept = [other for other in _current(state) if other.device != device]
    state = msgspec.structs.replace(state, witnesses=(*kept, new)[-MOST_WITNESSES:])
    # The wall clock may be behind throughout this start: the clips must not be aged later by off
    # time that the speakers' clocks show now. The upper median: one speaker of several does not
    # decide.
    arrived = sorted(witness.arrived_s for witness in _current(state))
    return _note(state, heard_s=arrived[len(arrived) // 2])


def decide(state: TimeState) -> Change:
    """Credit unproven time that the witnesses agree on."""
    if state.settled:
        return Change(state)
    raw_s, claimed_s = state.difference_s, state.difference_s - state.excess_s
    is_disproved = raw_s < -AGREEMENT_S and claimed_s < -AGREEMENT_S
    steady_s = state.lived_s - state.steady_from_s
    supported = sorted(
        witness.offset_s - state.offset_s
        for witness in _current(state)
        if witness.offset_s - state.offset_s >= -AGREEMENT_S
        and (is_disproved or witness.offset_s - state.offset_s <= raw_s + AGREEMENT_S)
    )
    if supported and (not is_disproved or len(supported) > 1):
        median_s = supported[(len(supported) - 1) // 2]
        agrees = median_s >= raw_s - AGREEMENT_S
        if steady_s >= STEADY_S:
            by_s = raw_s if agrees and not is_disproved else median_s
            return _credit(state, by_s, settles=agrees or is_disproved)
        if is_disproved or not agrees:
            return Change(state)
    least_s = _standing_claim(state)
    if is_disproved or least_s is None:
        return Change(state)
    return _credit(state, least_s, settles=steady_s >= CLAIM_S)


def confirm(state: TimeState) -> Change:
    """Accept the wall clock because a person confirmed it.

    If it is behind the accepted time, all stored times are relabelled: no clip's age changes.
    """
    if state.difference_s >= 0:
        return _credit(state, state.difference_s, settles=True)
    back_s = int(state.difference_s)
    after = msgspec.structs.replace(
        state,
        offset_s=state.offset_s + back_s,
        settled=True,
        excess_s=0.0,
        claims=(),
        unproven=(),
        suspended_from_s=None,
    )
    return Change(after, relabel_s=back_s)


def _follow(state: TimeState, passed_s: float) -> TimeState:
    """Compare the wall clock with the running time since the last jump or start."""
    offset_s = state.reading.wall_s - state.lived_s
    if abs(offset_s - state.reference_s) <= JUMP_S:
        return state if state.settled else _claim(state, passed_s)
    jumped = msgspec.structs.replace(
        state, jumps=state.jumps + 1, steady_from_s=state.lived_s, reference_s=offset_s
    )
    if state.settled:
        # This start's off time is decided: the computer ran, and the step is not elapsed time.
        return msgspec.structs.replace(jumped, excess_s=offset_s - state.offset_s)
    if state.reading.running_s > LATE_SYNC_S:
        excess_s = state.excess_s + offset_s - state.reference_s
        return _claim(msgspec.structs.replace(jumped, excess_s=excess_s), passed_s)
    # What the clock claimed since this start was wrong, or is wrong now.
    earlier = tuple(claim for claim in state.claims if claim.start != state.start)
    return _claim(_keep_excess(msgspec.structs.replace(jumped, claims=earlier)), 0.0)


def _keep_excess(state: TimeState) -> TimeState:
    """Keep the earlier steps if the clock can still contain them; else it was corrected."""
    raw_s, excess_s = state.difference_s, state.excess_s
    is_possible = 0.0 < excess_s <= raw_s or raw_s < 0.0 <= raw_s - excess_s
    if is_possible and abs(excess_s) > JUMP_S:
        return state
    return msgspec.structs.replace(state, excess_s=0.0)


def _claim(state: TimeState, passed_s: float) -> TimeState:
    """Add running time to what the wall clock claims in this start of the computer."""
    offset_s = state.reading.wall_s - state.lived_s - state.excess_s
    if offset_s < state.offset_s - AGREEMENT_S:
        return state  # behind the accepted time: it claims nothing
    claims = list(state.claims)
    if claims and claims[-1].start == state.start:
        passed_s += claims[-1].length_s
        offset_s = min(offset_s, claims.pop().offset_s)
    claims.append(Claim(start=state.start, length_s=passed_s, offset_s=offset_s))
    longer_s = 0.0
    for at in range(len(claims) - 1, -1, -1):
        longer_s += claims[at].length_s
        if longer_s >= CLAIM_S:
            claims = claims[at:]
            break
    if len(claims) > MOST_CLAIMS:
        first, second, *others = claims
        merged = Claim(
            start=second.start,
            length_s=first.length_s + second.length_s,
            offset_s=min(first.offset_s, second.offset_s),
        )
        claims = [merged, *others]
    return msgspec.structs.replace(state, claims=tuple(claims))


def _note_unproven(state: TimeState) -> TimeState:
    """Note the largest off time that may precede the clips of this start, by the wall clock."""
    most_s = max(state.difference_s, state.difference_s - state.excess_s)
    return _note(state, offset_s=state.offset_s + most_s)


def _note(
    state: TimeState, *, offset_s: float | None = None, heard_s: float | None = None
) -> TimeState:
    """Note up to which offset the clips of this start may have arrived after off time.

    Args:
        state: undecided, or nothing is noted.
        offset_s: by the wall clock; the largest counts.
        heard_s: by the speakers; the latest counts.
    """
    if state.settled:
        return state
    unproven = list(state.unproven)
    new = Unproven(
        first=state.start, last=state.start, offset_s=state.offset_s, heard_s=state.offset_s
    )
    if unproven and unproven[-1].last == state.start:
        new = unproven.pop()
    if offset_s is not None:
        new = msgspec.structs.replace(new, offset_s=max(offset_s, new.offset_s))
    if heard_s is not None:
        new = msgspec.structs.replace(new, heard_s=heard_s)
    if new.largest_s > state.offset_s:
        unproven.append(new)
    if len(unproven) > MOST_CLAIMS:
        one, two, *others = unproven
        merged = Unproven(
            first=one.first,
            last=two.last,
            offset_s=max(one.offset_s, two.offset_s),
            heard_s=max(one.heard_s, two.heard_s),
        )
        unproven = [merged, *others]
    return msgspec.structs.replace(state, unproven=tuple(unproven))


def _standing_claim(state: TimeState) -> float | None:
    """Return the unproven time that the clock has claimed throughout ``CLAIM_S``, or None."""
    length_s, least_s = 0.0, float("inf")
    for claim in reversed(state.claims):
        length_s += claim.length_s
        least_s = min(least_s, claim.offset_s)
        if length_s >= CLAIM_S:
            return least_s - state.offset_s
    return None


def _current(state: TimeState) -> list[Witness]:
    """Return the speakers' times that have not lapsed."""
    since_s = state.lived_s - WITNESS_S
    return [witness for witness in state.witnesses if witness.heard_s >= since_s]


def _credit(state: TimeState, by_s: float, *, settles: bool) -> Change:
    """Credit off time before this start of the computer."""
    whole_s = max(0, int(by_s))
    offset_s = state.offset_s + whole_s
    shifts = [Shift(state.start, state.start, whole_s)]
    for past in state.unproven:
        if past.last < state.start:
            pending_s = math.ceil(past.largest_s - state.offset_s)
            shifts.append(Shift(past.first, past.last, min(whole_s, max(0, pending_s))))
    after = msgspec.structs.replace(
        state,
        offset_s=offset_s,
        settled=state.settled or settles,
        # Where the start is decided, the clips of earlier starts have their full shift.
        unproven=()
        if settles
        else tuple(past for past in state.unproven if past.largest_s > offset_s),
    )
    if after.settled:
        after = msgspec.structs.replace(after, excess_s=after.difference_s)
    return Change(_suspend(after), whole_s, tuple(shift for shift in shifts if shift.by_s))


def _count_unproven(state: TimeState) -> TimeState:
    """Count a start of the computer with a clock that is behind or far ahead as a jump."""
    claimed_s = state.difference_s - state.excess_s
    if -JUMP_S <= claimed_s <= _UNPROVEN_JUMP_S:
        return state
    return msgspec.structs.replace(state, jumps=state.jumps + 1)


def _suspend(state: TimeState) -> TimeState:
    """Note since when wall clock and accepted time differ."""
    if state.is_agreed:
        return msgspec.structs.replace(state, suspended_from_s=None)
    if state.suspended_from_s is None:
        return msgspec.structs.replace(state, suspended_from_s=state.accepted_s)
    return state


@dataclass(frozen=True, slots=True)
class Wait:
    """Time since a clip was sealed, at the moment in which the archive compares it."""

    waited_s: float = 0
    """As far as speaker and broker measured it, in seconds."""
    doubt_s: float = 0.0
    """Longest time that ``waited_s`` may lack, in seconds; 0 if nothing is known of it."""


NO_WAIT: Final = Wait()


@dataclass(frozen=True, slots=True)
class ArchiveTime:
    """One moment by each of the archive's measures."""

    accepted_s: float
    """Accepted time, in seconds since 1970."""
    lived_s: float
    """Running time over all starts of the computer."""
    wall_s: float
    """Wall clock, in seconds since 1970."""
    start: int = 0
    """Number of the start of the computer."""
    is_settled: bool = True
    """Whether the off time before this start is decided."""

    def is_decided_since(self, before: "ArchiveTime") -> bool:
        """Return whether ``since_s`` is known: without undecided off time in between."""
        is_same_start = before.start == self.start and before.lived_s <= self.lived_s
        return self.is_settled or is_same_start

    def since_s(self, before: "ArchiveTime") -> float:
        """Return the longest time since ``before`` by any measure."""
        return max(
            self.accepted_s - before.accepted_s,
            self.lived_s - before.lived_s,
            self.wall_s - before.wall_s,
        )
