"""Open asks of the speakers: nonces, command keys, bounds and deadlines, in memory only. Pure.

An ask is open from its arrival until it has ended: its command was carried out or refused, 25 s
after its answer, or with the process. Its command key ends with it, and so nothing that was sealed
to it can be opened again. No table survives a restart, and none is needed.

Times are `ClockPair`, of CLOCK_BOOTTIME and of the wall clock. No absolute time is compared: a
wall clock that moved against the other one only shows that the machine was paused or put back.
"""

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from listener.voice import limits, timing


@dataclass(frozen=True, slots=True)
class ClockPair:
    """One reading of both clocks, in seconds."""

    boot_s: float
    """CLOCK_BOOTTIME."""
    wall_s: float
    """The wall clock."""


class CommandKey(Protocol):
    """X25519 key pair of one ask, whose secret part exists in this object alone."""

    @property
    def recipient(self) -> str:
        """Return the public key, ``age1…``."""

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the public key."""

    @property
    def secret(self) -> object:
        """Return the secret key; the caller keeps no reference."""


class Admission(StrEnum):
    """AgentResult for an ask that arrived."""

    OPEN = "open"
    BUSY = "busy"
    """A bound is reached; the speaker is told."""
    REPLAY = "replay"
    """The nonce was used before; there is no answer."""


class CopyRefusal(StrEnum):
    """Reason for which a command copy is not opened, or its command not carried out."""

    UNKNOWN = "unknown"
    """There was no such ask, or it is forgotten."""
    ENDED = "ended"
    """The ask has ended without a command."""
    DONE = "done"
    """A command of this ask was handed on."""
    ASK = "ask"
    """The copy names another device or command key than the ask."""
    PART = "part"
    """The part is not above the last one."""
    LATE = "late"
    """Too much time has passed, or the clocks moved against each other."""
    AGE = "age"
    """The copy claims to be older than its ask can be."""


class CopyRefused(Exception):
    """Command copy that is not opened, or whose command is not carried out."""

    def __init__(self, reason: CopyRefusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HeldCommand:
    """Whole command of a provisional part, which waits for its confirmation."""

    part: int
    """Number of the part."""
    age_ms: int
    """Age of the part, from its header."""
    owner: str
    """Short name of its owner."""
    text: str = field(repr=False)
    """The command, without the wake word."""


@dataclass(slots=True)
class AskState:
    """An ask that has not ended. Changed by `Asks` alone."""

    nonce: str
    device: str
    reply: str | None
    """Public key to which a reply is sealed."""
    arrived: ClockPair
    answered: ClockPair | None = None
    """Time of the answer ``speak``."""
    key: CommandKey | None = field(default=None, repr=False)
    key_id: str = ""
    """Fingerprint of ``key``, which stays when the key is erased."""
    part: int = 0
    """The last part that was accepted."""
    provisional: int = 0
    """The last provisional part that was accepted."""
    confirmed: int = 0
    """The part whose confirmation has arrived."""
    held: HeldCommand | None = field(default=None, repr=False)


class Asks:
    """Table of the open asks. Safe for use by several threads.

    Args:
        new_key: makes a command key.
        now: reads both clocks.
    """

    def __init__(self, new_key: Callable[[], CommandKey], now: Callable[[], ClockPair]) -> None:
        self._new_key = new_key
        self._now = now
        self._lock = threading.Lock()
        self._open: dict[str, AskState] = {}
        self._nonces: OrderedDict[str, CopyRefusal | None] = OrderedDict()
        """The last nonces, and for those of ended asks what a copy is told."""
        self._recent: dict[str, deque[float]] = {}
        self.lost_by_clock = 0
        """Asks that ended because the clocks moved against each other."""

    def admit(self, nonce: str, device: str, reply: str | None, *, opens: bool = True) -> Admission:
        """Take an ask whose signature is verified.

        Args:
            nonce: of the ask.
            device: name of the speaker.
            reply: public key to which a reply is sealed.
            opens: False for an ask that gets no command key: it counts and does not stay.
        """
        with self._lock:
            now = self._now()
            self._expire(now)
            if nonce in self._nonces:
                return Admission.REPLAY
            self._remember(nonce)
            if self._is_too_fast(device, now.boot_s):
                return Admission.BUSY
            of_device = sum(1 for ask in self._open.values() if ask.device == device)
            if opens and (
                of_device >= limits.MOST_OPEN_ASKS_PER_DEVICE
                or len(self._open) >= limits.MOST_OPEN_ASKS
            ):
                return Admission.BUSY
            if opens:
                self._open[nonce] = AskState(nonce, device, reply, now)
            return Admission.OPEN

    def answer(self, nonce: str) -> str | None:
        """Make the command key of an open ask; return its public key, or None if it has ended."""
        with self._lock:
            ask = self._open.get(nonce)
            if ask is None or ask.answered is not None:
                return None
            key = self._new_key()
            ask.key, ask.key_id, ask.answered = key, key.fingerprint, self._now()
            return key.recipient

    def accept(  # noqa: PLR0913 - the fields of one header
        self, nonce: str, device: str, key: str, part: int, age_ms: int, *, is_last: bool = True
    ) -> None:
        """Accept a command copy whose signature is verified.

        Args:
            nonce: of the ask that the copy names.
            device: name of the speaker.
            key: fingerprint of the key that the copy is sealed to.
            part: number of the part, from 1.
            age_ms: time from ask to sealing on the speaker's clock.
            is_last: False for a provisional part; a command of the one before is no longer held.

        Raises:
            CopyRefused: the copy must not be opened.
        """
        with self._lock:
            now = self._now()
            ask = self._find(nonce, now)
            if ask.device != device or ask.key_id != key:
                raise CopyRefused(CopyRefusal.ASK)
            if part <= ask.part or ask.key is None:
                raise CopyRefused(CopyRefusal.PART)
            if not timing.is_age_possible(ask.arrived.boot_s, age_ms, now.boot_s):
                raise CopyRefused(CopyRefusal.AGE)
            if not self._may_act(ask, age_ms, now):
                raise CopyRefused(CopyRefusal.LATE)
            ask.part = part
            if not is_last:
                ask.provisional, ask.held = part, None

    def hold(self, nonce: str, command: HeldCommand) -> bool:
        """Hold the whole command of a provisional part until it is confirmed.

        Returns:
            Whether it is confirmed already, and is to be carried out by the caller; the table does
            not hold it then. False where a newer provisional part has arrived: nothing is held.

        Raises:
            CopyRefused: the ask has ended.
        """
        with self._lock:
            ask = self._find(nonce, self._now())
            if ask.provisional != command.part:
                return False
            if ask.confirmed == command.part:
                return True
            ask.held = command
            return False

    def confirm(self, nonce: str, device: str, part: int) -> HeldCommand | None:
        """Note that silence followed a provisional part, by a message whose signature is verified.

        Returns:
            The command of the part, to be carried out by the caller; None where the part has not
            been recognised yet, is not a whole command, or is not the newest one.

        Raises:
            CopyRefused: there is no such ask of this device.
        """
        with self._lock:
            ask = self._find(nonce, self._now())
            if ask.device != device or ask.answered is None:
                raise CopyRefused(CopyRefusal.ASK)
            ask.confirmed = max(ask.confirmed, part)
            held = ask.held
            if held is None or held.part != part:
                return None
            ask.held = None
            return held

    def take_key(self, nonce: str, *, is_last: bool) -> CommandKey:
        """Return the command key of an open ask; with its last part, the table forgets the key.

        Raises:
            CopyRefused: the ask has ended.
        """
        with self._lock:
            ask = self._find(nonce, self._now())
            key = ask.key
            if key is None:
                raise CopyRefused(CopyRefusal.PART)
            if is_last:
                ask.key = None
            return key

    def begin_act(self, nonce: str, age_ms: int) -> AskState:
        """End an ask because its command is handed on in this moment: at most once, and in time.

        Args:
            nonce: of the ask.
            age_ms: time from ask to sealing of the part that is acted on.

        Raises:
            CopyRefused: it has ended, or too much time has passed; nothing may be done.
        """
        with self._lock:
            now = self._now()
            ask = self._find(nonce, now)
            is_in_time = self._may_act(ask, age_ms, now)
            self._end(nonce, CopyRefusal.DONE if is_in_time else CopyRefusal.LATE)
            if not is_in_time:
                raise CopyRefused(CopyRefusal.LATE)
            return ask

    def end(self, nonce: str) -> None:
        """End an ask without a command; its key is erased."""
        with self._lock:
            if nonce in self._open:
                self._end(nonce, CopyRefusal.ENDED)

    def expire(self) -> None:
        """End the asks whose time is over; call it every second."""
        with self._lock:
            self._expire(self._now())

    def clear(self) -> None:
        """End all asks."""
        with self._lock:
            for nonce in tuple(self._open):
                self._end(nonce, CopyRefusal.ENDED)

    def count(self) -> Counter[str]:
        """Return the number of open asks of each device."""
        with self._lock:
            return Counter(ask.device for ask in self._open.values())

    def held_count(self) -> int:
        """Return the number of commands that wait for a confirmation."""
        with self._lock:
            return sum(1 for ask in self._open.values() if ask.held is not None)

    def _find(self, nonce: str, now: ClockPair) -> AskState:
        self._expire(now)
        ask = self._open.get(nonce)
        if ask is None:
            raise CopyRefused(self._nonces.get(nonce) or CopyRefusal.UNKNOWN)
        return ask

    def _expire(self, now: ClockPair) -> None:
        for ask in tuple(self._open.values()):
            since = ask.answered or ask.arrived
            if self._has_clock_moved(ask.arrived, now):
                self.lost_by_clock += 1
                self._end(ask.nonce, CopyRefusal.LATE)
            elif not timing.is_key_alive(since.boot_s, now.boot_s):
                self._end(ask.nonce, CopyRefusal.LATE)

    def _end(self, nonce: str, reason: CopyRefusal) -> None:
        # The last reference to the secret key: pyrage overwrites and frees it here.
        ask = self._open.pop(nonce)
        ask.key = ask.held = None
        if nonce in self._nonces:
            self._nonces[nonce] = reason

    def _remember(self, nonce: str) -> None:
        self._nonces[nonce] = None
        while len(self._nonces) > limits.MOST_SEEN_ASKS:
            # An open ask keeps its nonce.
            oldest = next(one for one in self._nonces if one not in self._open)
            del self._nonces[oldest]

    def _is_full(self, device: str) -> bool:
        of_device = sum(1 for ask in self._open.values() if ask.device == device)
        return (
            of_device >= limits.MOST_OPEN_ASKS_PER_DEVICE
            or len(self._open) >= limits.MOST_OPEN_ASKS
        )

    def _is_too_fast(self, device: str, boot_s: float) -> bool:
        """Return whether an ask exceeds the rate of its device; count it otherwise."""
        recent = self._recent.setdefault(device, deque(maxlen=limits.MOST_ASKS_PER_S_PER_DEVICE))
        if len(recent) == limits.MOST_ASKS_PER_S_PER_DEVICE and boot_s - recent[0] < 1:
            return True
        recent.append(boot_s)
        return False

    @staticmethod
    def _has_clock_moved(before: ClockPair, now: ClockPair) -> bool:
        return timing.clock_moved(before.boot_s, before.wall_s, now.boot_s, now.wall_s)

    def _may_act(self, ask: AskState, age_ms: int, now: ClockPair) -> bool:
        return ask.answered is not None and timing.may_act(ask.answered.boot_s, age_ms, now.boot_s)
