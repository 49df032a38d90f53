"""State machine of the open ask: wake, answer, endpoint, command copy, outcome. Pure.

```
        begin             speak            grant              laid             outcome, 15 s
idle ──────────► asked ──────────► granted ──────► sealing ──────────► waiting ──────────► idle
                   │  elsewhere, busy  │              │
                   └──► refused ───────┤              └── not made ──► idle
                                       └── mute, gap, stop, another wake ──► idle
```

A pause before the endpoint may grant provisional parts; an outcome then ends the ask before its
endpoint. At most one ask is open. Nothing of it is stored: a restart ends it. ``docs/reference/
voice-protocol.md`` has the protocol. Every rule of time is by the speaker's own running time; where
the wall clock has moved by more than a second besides, the ask ends, because a machine that was
paused cannot know for how long.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

from listener.ipc.notices import CommandEnd
from listener.voice import timing
from listener.voice.limits import MOST_PARTS, MOST_WRONG_SIGNATURES
from listener.voice.messages import Answer, Outcome

ReportedOutcome = Literal["done", "failed", "not-understood", "late", "again"]
"""Outcomes that assist states."""
NoCopyReason = Literal[
    "not-allowed", "muted", "too-long", "no-place", "not-sealed", "not-sent", "clock"
]
"""Reasons for which an order leads to no command copy, or to one that did not leave."""


class Rejection(Enum):
    """Reason for which a message on the answer's topic is ignored."""

    NOT_OPEN = auto()
    """There is no open ask, or the message is for another ask or device; nothing was verified."""
    FORGED = auto()
    """The signature is not by the assist that the owner allowed."""
    LATE = auto()
    """An answer more than 3 s after the wake, or after the endpoint; an outcome after 15 s."""
    REPEATED = auto()
    """The ask has its answer already."""


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment by two clocks, in seconds."""

    boot_s: float
    """Running time of the machine, with the time that it was suspended (CLOCK_BOOTTIME)."""
    wall_s: float
    """Wall clock, which may be set at any time."""

    def has_moved(self, now: "Instant") -> bool:
        """Return whether the wall clock was set, or this machine was paused, between two moments.

        Args:
            now: the later moment.
        """
        return timing.clock_moved(self.boot_s, self.wall_s, now.boot_s, now.wall_s)


@dataclass(frozen=True, slots=True)
class CommandGrant:
    """Permission to make the command copies of one clip: an answer that came in time."""

    ask: str
    """Nonce of the ask."""
    key: str
    """Public key that was made for this ask, ``age1…``."""
    asked: Instant
    """Moment at which the ask was signed."""
    part: int = 1
    """Number of the part."""
    is_last: bool = True
    """Whether no further part follows; False for a provisional part."""


class _Phase(Enum):
    IDLE = auto()
    ASKED = auto()
    GRANTED = auto()
    REFUSED = auto()
    SEALING = auto()
    WAITING = auto()


class OpenAsk:
    """The open ask of a speaker, if there is one. For one thread."""

    def __init__(self, device: str) -> None:
        """Start without an ask.

        Args:
            device: name of the speaker.
        """
        self._device = device
        self._phase = _Phase.IDLE
        self._ask = ""
        self._woke = self._asked = self._laid = Instant(0.0, 0.0)
        self._key = ""
        self._refusal: Literal["elsewhere", "busy", "no-answer"] = "no-answer"
        self._wrong_signatures = 0
        self._parts = 0
        """Provisional parts that were granted."""
        self._laid_part = self._confirmed_part = 0
        """Last provisional part that lies ready for send, or was confirmed."""

    @property
    def has_parts(self) -> bool:
        """Whether provisional parts of the open ask were granted."""
        return self._parts > 0

    @property
    def ask(self) -> str:
        """Nonce of the open ask; empty if there is none."""
        return self._ask

    @property
    def is_open(self) -> bool:
        """Whether an ask is open; no poke is answered meanwhile."""
        return self._phase is not _Phase.IDLE

    def begin(self, ask: str, woke: Instant, asked: Instant) -> CommandEnd | None:
        """Open an ask at a wake; the ask before ends.

        Args:
            ask: its nonce, used for the first time.
            woke: moment of the wake.
            asked: moment after the signing.

        Returns:
            ``unknown`` if the ask before had a command copy without an outcome, else None.
        """
        before: CommandEnd | None = "unknown" if self._has_copy() else None
        self._reset(_Phase.ASKED)
        self._ask, self._woke, self._asked = ask, woke, asked
        return before

    def take_answer(
        self, answer: Answer, is_signed: Callable[[], bool], now: Instant
    ) -> Rejection | None:
        """Apply an answer; return None if it counts. The first valid answer stands.

        Args:
            answer: not verified.
            is_signed: verifies its signature; called last, and for at most `MOST_WRONG_SIGNATURES`
                wrong answers to an ask.
            now: moment of the arrival.
        """
        if not self._is_mine(answer):
            return Rejection.NOT_OPEN
        if self._phase in (_Phase.GRANTED, _Phase.REFUSED):
            return Rejection.REPEATED
        if self._phase is not _Phase.ASKED or not timing.is_answer_in_time(
            self._woke.boot_s, now.boot_s
        ):
            return Rejection.LATE
        if not self._verify(is_signed):
            return Rejection.FORGED
        if answer.key is not None:
            self._phase, self._key = _Phase.GRANTED, answer.key
        else:
            self._phase = _Phase.REFUSED
            self._refusal = "elsewhere" if answer.verdict == "elsewhere" else "busy"
        return None

    def take_outcome(
        self, outcome: Outcome, is_signed: Callable[[], bool], now: Instant
    ) -> ReportedOutcome | Rejection:
        """Apply an outcome, which ends the ask; return it if it counts.

        Args:
            outcome: not verified.
            is_signed: as for `take_answer`; counted anew from the endpoint on.
            now: moment of the arrival.
        """
        if not self._is_mine(outcome) or not self._has_copy():
            return Rejection.NOT_OPEN
        if self._phase is _Phase.WAITING and self._is_outcome_late(now):
            return Rejection.LATE
        if not self._verify(is_signed):
            return Rejection.FORGED
        self._reset(_Phase.IDLE)
        return outcome.outcome

    def grant(self, now: Instant) -> CommandGrant | CommandEnd | None:
        """Close the ask for answers at the endpoint; return the key, or why there is none.

        Args:
            now: moment of the endpoint.

        Returns:
            None if no ask is open for this clip. After a `CommandGrant`, `lay` or `drop` follows.
        """
        match self._phase:
            case _Phase.GRANTED if not self._asked.has_moved(now):
                self._phase, self._wrong_signatures = _Phase.SEALING, 0
                return CommandGrant(self._ask, self._key, self._asked, self._parts + 1)
            case _Phase.GRANTED:
                end: CommandEnd = "clock"
            case _Phase.ASKED:
                end = "no-answer"
            case _Phase.REFUSED:
                end = self._refusal
            case _:
                return None
        self._reset(_Phase.IDLE)
        return end

    def grant_part(self, now: Instant) -> CommandGrant | None:
        """Return the key for a provisional part, before the endpoint; the ask stays open.

        Args:
            now: moment of the pause.

        Returns:
            None without an answer ``speak``, after an outcome, or after the last provisional part
            that an ask may have.
        """
        if (
            self._phase is not _Phase.GRANTED
            or self._parts >= MOST_PARTS - 1
            or self._asked.has_moved(now)
        ):
            return None
        self._parts += 1
        return CommandGrant(self._ask, self._key, self._asked, self._parts, is_last=False)

    def lay_part(self, ask: str, part: int) -> None:
        """Note that a provisional part lies ready for send.

        Args:
            ask: nonce of the copy; that of an ask that has ended changes nothing.
            part: its number.
        """
        if self._phase is _Phase.GRANTED and ask == self._ask:
            self._laid_part = max(self._laid_part, part)

    def confirm_part(self, now: Instant) -> int | None:
        """Return the number of the last provisional part, to be confirmed once.

        Args:
            now: this moment.

        Returns:
            None before the part lies ready for send, after its confirmation, or after an outcome.
        """
        if (
            self._phase is not _Phase.GRANTED
            or not self._confirmed_part < self._parts == self._laid_part
            or self._asked.has_moved(now)
        ):
            return None
        self._confirmed_part = self._parts
        return self._parts

    def lay(self, ask: str, now: Instant) -> None:
        """Note that the command copy lies ready for send; the outcome is due within 15 s.

        Args:
            ask: nonce of the copy; that of an ask that has ended changes nothing.
            now: moment of the sealing.
        """
        if self._phase is _Phase.SEALING and ask == self._ask:
            self._phase, self._laid = _Phase.WAITING, now

    def drop(self, ask: str) -> bool:
        """End the ask: no command copy was made, or it was erased before send took it.

        Args:
            ask: nonce of the copy.

        Returns:
            Whether this ask was open.
        """
        is_this = self._has_copy() and ask == self._ask
        if is_this:
            self._reset(_Phase.IDLE)
        return is_this

    def end(self) -> bool:
        """End the ask if its clip is not finished: at a mute, a gap or the stop.

        Returns:
            Whether it was.
        """
        was_before_endpoint = self._phase in (_Phase.ASKED, _Phase.GRANTED, _Phase.REFUSED)
        if was_before_endpoint:
            self._reset(_Phase.IDLE)
        return was_before_endpoint

    def expire(self, now: Instant) -> Literal["unknown"] | None:
        """End the ask if its outcome is overdue; to be called in every turn of the loop."""
        if self._phase is _Phase.WAITING and self._is_outcome_late(now):
            self._reset(_Phase.IDLE)
            return "unknown"
        return None

    def _is_mine(self, message: Answer | Outcome) -> bool:
        """Return whether a message is for the open ask."""
        return self.is_open and message.ask == self._ask and message.device == self._device

    def _is_outcome_late(self, now: Instant) -> bool:
        return not timing.is_outcome_awaited(self._laid.boot_s, now.boot_s)

    def _has_copy(self) -> bool:
        """Return whether assist may have a copy of the open ask."""
        is_before_endpoint = self._phase is _Phase.GRANTED and self.has_parts
        return is_before_endpoint or self._phase in (_Phase.SEALING, _Phase.WAITING)

    def _verify(self, is_signed: Callable[[], bool]) -> bool:
        if self._wrong_signatures >= MOST_WRONG_SIGNATURES:
            return False
        if is_signed():
            return True
        self._wrong_signatures += 1
        return False

    def _reset(self, phase: _Phase) -> None:
        self._phase, self._ask, self._key, self._wrong_signatures = phase, "", "", 0
        self._refusal, self._parts = "no-answer", 0
        self._laid_part = self._confirmed_part = 0
