"""Announcements by message: their form, their rate, and where they may still sound. Pure.

The text of such an announcement is another program's, and the broker can write one as well. It is
spoken by a loudspeaker, and another speaker may hear the wake word and a command in it. So while it
may sound, no other speaker of the group gets a command key.
"""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final, Literal

from listener.assist.recogniser import Announcement
from listener.assist.speech import LONGEST_TEXT
from listener.voice import timing

MOST_PER_MINUTE: Final = 6
"""Announcements by message for one speaker in a minute."""
MOST_PER_MINUTE_IN_ALL: Final = 30
"""Announcements by message for all speakers in a minute."""
LONGEST_BYTES: Final = 4 * LONGEST_TEXT
"""Longest payload, in bytes; a character of UTF-8 has four at most."""
_MINUTE_S: Final = 60.0
_REST_S: Final = 1.0
"""Time for hear's permission, the end of the room's echo and the detection of a wake."""


class AnnouncementRefused(Exception):
    """Announcement by message that is not spoken.

    Attributes:
        reason: the reason, one word.
    """

    def __init__(self, reason: Literal["form", "rate"]) -> None:
        super().__init__(reason)
        self.reason = reason


class AnnouncementIntake:
    """Accepts announcements by message, at a bounded rate. For one thread."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._all: deque[float] = deque(maxlen=MOST_PER_MINUTE_IN_ALL)

    def accept(self, device: str, payload: bytes, now_s: float) -> Announcement:
        """Return the announcement in a payload.

        Args:
            device: name of the speaker, which the household has.
            payload: text in UTF-8; control characters become spaces.
            now_s: a clock that only runs forward.

        Raises:
            AnnouncementRefused: ``form`` for a payload that is empty, too long or not UTF-8,
                ``rate`` for one too many.
        """
        if len(payload) > LONGEST_BYTES:
            raise AnnouncementRefused("form")
        try:
            text = payload.decode()
        except UnicodeDecodeError as error:
            raise AnnouncementRefused("form") from error
        text = " ".join("".join(one if one.isprintable() else " " for one in text).split())
        if not 0 < len(text) <= LONGEST_TEXT:
            raise AnnouncementRefused("form")
        recent = self._recent.setdefault(device, deque(maxlen=MOST_PER_MINUTE))
        if _is_full(recent, now_s) or _is_full(self._all, now_s):
            raise AnnouncementRefused("rate")
        recent.append(now_s)
        self._all.append(now_s)
        return Announcement(device, text, is_message=True)


@dataclass(frozen=True, slots=True)
class _Sealed:
    expected_s: float
    """Time at which the sound ends if nothing was delayed."""
    latest_s: float
    """Time after which no speaker can have woken by the sound, whatever was delayed."""


class SoundingAnnouncements:
    """Announcements by message that may still sound. Safe for use by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._preparing: set[str] = set()
        self._sealed: dict[str, _Sealed] = {}

    def prepare(self, device: str) -> None:
        """State that an announcement is being made for a speaker."""
        with self._lock:
            self._preparing.add(device)

    def drop(self, device: str) -> None:
        """State that the announcement in preparation was not made."""
        with self._lock:
            self._preparing.discard(device)

    def seal(self, device: str, length_s: float, now_s: float) -> None:
        """State that an announcement is sealed and will be sent.

        The player begins a reply at most 10 s after its sealing, and hear uses no answer later
        than 3 s after its wake: an ask that arrives later than both is of no wake by this sound.

        Args:
            device: name of the speaker.
            length_s: length of the sound in seconds.
            now_s: CLOCK_BOOTTIME.
        """
        end_s = now_s + length_s + _REST_S
        with self._lock:
            self._preparing.discard(device)
            # Of two, the later one may be the shorter.
            before = self._sealed.get(device)
            latest_s = end_s + timing.REPLY_S + timing.ANSWER_S
            latest_s = latest_s if before is None else max(latest_s, before.latest_s)
            self._sealed[device] = _Sealed(end_s, latest_s)

    def is_expected(self, device: str, now_s: float) -> bool:
        """Return whether an announcement of this speaker is probably not over yet."""
        with self._lock:
            sealed = self._sealed.get(device)
            is_sealed = sealed is not None and now_s < sealed.expected_s
            return is_sealed or device in self._preparing

    def devices(self, now_s: float) -> set[str]:
        """Return the speakers at which an announcement may sound, or that may have woken by it."""
        with self._lock:
            self._sealed = {
                device: sealed for device, sealed in self._sealed.items() if now_s < sealed.latest_s
            }
            return self._preparing | self._sealed.keys()


def _is_full(recent: deque[float], now_s: float) -> bool:
    return len(recent) == recent.maxlen and now_s - recent[0] < _MINUTE_S
